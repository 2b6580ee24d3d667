//! Proxies by variable and URL, and the exceptions from them.

use super::*;

fn proxies(pairs: &[(&str, &str)]) -> Proxies {
    let pairs = pairs.iter().map(|(name, value)| (name.into(), value.into()));
    Proxies::of(&Environment::from_pairs(pairs))
}

fn proxy(pairs: &[(&str, &str)], url: &str) -> Option<String> {
    let found = proxies(pairs).for_url(&Url::parse(url).unwrap()).unwrap();
    found.map(|url| url.as_str().trim_end_matches('/').to_owned())
}

#[test]
fn the_proxy_goes_by_the_scheme_and_upper_case_counts_first() {
    let pairs = [
        ("HTTP_PROXY", "http://plain:1"),
        ("https_proxy", "http://lower:2"),
        ("ALL_PROXY", "socks5://u:p@all:3"),
    ];
    assert_eq!(proxy(&pairs, "http://a.example/").as_deref(), Some("http://plain:1"));
    assert_eq!(proxy(&pairs, "https://a.example/").as_deref(), Some("http://lower:2"));
    assert_eq!(proxy(&pairs[2..], "https://a.example/").as_deref(), Some("socks5://u:p@all:3"));
    let both = [("HTTPS_PROXY", "http://upper:1"), ("https_proxy", "http://lower:2")];
    assert_eq!(proxy(&both, "https://a.example/").as_deref(), Some("http://upper:1"));
    assert_eq!(proxy(&[], "https://a.example/"), None);
}

#[test]
fn a_bare_host_and_port_is_an_http_proxy() {
    for value in ["proxy.example:3128", "10.0.0.1:3128", "proxy:3128"] {
        let found = proxy(&[("HTTPS_PROXY", value)], "https://a.example/");
        assert_eq!(found, Some(format!("http://{value}")));
    }
}

#[test]
fn a_value_that_is_no_proxy_is_an_error_without_the_value() {
    for value in ["ftp://canary.example", "http://", "://canary", "canary canary"] {
        let proxies = proxies(&[("HTTPS_PROXY", value)]);
        let error = proxies.for_url(&Url::parse("https://a.example/").unwrap()).unwrap_err();
        assert!(
            matches!(error, Error::Variable { ref name, .. } if name == "HTTPS_PROXY"),
            "{error:?}"
        );
        assert!(!error.to_string().contains("canary"), "{error}");
        assert!(proxies.for_url(&Url::parse("http://a.example/").unwrap()).unwrap().is_none());
    }
}

#[test]
fn a_cgi_program_does_not_use_http_proxy() {
    let pairs = [("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "http://evil:1")];
    let proxies = proxies(&pairs);
    assert!(proxies.for_url(&Url::parse("http://a.example/").unwrap()).is_err());
    assert_eq!(proxy(&pairs, "https://a.example/"), None);
}

#[test]
fn this_machine_is_contacted_directly() {
    let pairs = [("HTTPS_PROXY", "http://p:1")];
    for host in ["localhost", "LOCALHOST:5000", "127.8.8.8", "[::1]:443"] {
        assert_eq!(proxy(&pairs, &format!("https://{host}/")), None, "{host}");
    }
    assert!(proxy(&pairs, "https://localhost.example/").is_some());
}

#[test]
fn exceptions_match_as_the_table_says() {
    let rows: [(&str, &[&str], &[&str]); 12] = [
        ("*", &["a.example", "10.0.0.1"], &[]),
        ("example.com", &["example.com", "a.example.com", "EXAMPLE.com:5000"], &["badexample.com"]),
        (".example.com", &["a.example.com", "a.b.example.com"], &["example.com"]),
        ("*.example.com", &["a.example.com"], &["example.com", "xexample.com"]),
        ("10.0.0.0/8", &["10.1.2.3", "10.9.9.9:5000"], &["11.0.0.1", "ten.example"]),
        ("192.168.1.5", &["192.168.1.5", "192.168.1.5:5000"], &["192.168.1.50"]),
        ("192.168.1.5:5000", &["192.168.1.5:5000"], &["192.168.1.5"]),
        ("host:8443", &["host:8443", "a.host:8443"], &["host", "host:443"]),
        ("host:443", &["host"], &["host:8443"]),
        ("[2001:db8::1]:80, 2001:db8::2", &["[2001:db8::2]"], &["[2001:db8::1]"]),
        ("2001:db8::/32", &["[2001:db8:1::1]"], &["[2001:db9::1]", "32.1.13.184"]),
        (" , a.example ,, 300.0.0.0/8, x/y", &["a.example"], &["b.example", "x"]),
    ];
    for (exceptions, direct, through) in rows {
        let pairs = [("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", exceptions)];
        let is_direct = |host: &&str| proxy(&pairs, &format!("https://{host}/v2/")).is_none();
        for host in direct {
            assert!(is_direct(host), "{exceptions:?} covers {host}");
        }
        for host in through {
            assert!(!is_direct(host), "{exceptions:?} does not cover {host}");
        }
    }
}

#[test]
fn a_setting_counts_where_the_environment_names_no_proxy() {
    let settings = Network {
        proxy: Some("set.example:3128".to_owned()),
        no_proxy: ".inside.example".to_owned(),
    };
    type Row<'a> = (&'a [(&'a str, &'a str)], &'a str, Option<&'a str>);
    let rows: [Row<'_>; 8] = [
        (&[], "https://a.example/", Some("http://set.example:3128")),
        (&[], "http://a.example/", Some("http://set.example:3128")),
        (&[], "https://a.inside.example/", None),
        (&[], "https://127.0.0.1/", None),
        (&[("NO_PROXY", "a.example")], "https://a.example/", None),
        (&[("NO_PROXY", "a.example")], "https://a.inside.example/", None),
        (&[("HTTPS_PROXY", "http://env:1")], "https://a.inside.example/", Some("http://env:1")),
        (&[("HTTPS_PROXY", "http://env:1")], "http://a.example/", None),
    ];
    for (pairs, url, expected) in rows {
        let proxies = proxies(pairs).or(&settings);
        let found = proxies.for_url(&Url::parse(url).unwrap()).unwrap();
        let found = found.map(|url| url.as_str().trim_end_matches('/').to_owned());
        assert_eq!(found.as_deref(), expected, "{pairs:?} {url}");
    }
}

#[test]
fn debug_shows_no_password() {
    let text = format!("{:?}", proxies(&[("HTTPS_PROXY", "http://u:canary@p:1")]));
    assert!(text.contains("HTTPS_PROXY") && !text.contains("canary"), "{text}");
}
