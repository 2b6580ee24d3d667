//! Metrics: the daemon's state as OpenMetrics text.
//!
//! Spec: OpenMetrics 1.0: names with units, counters that end in `_total`, `# EOF`. Not here:
//! gathering the state ([`crate::services`]), the socket ([`crate::scrape`]).

use std::fmt::Write as _;

use orlop_proto::v1::{Counts, StatusReply};

/// Media type of the text.
pub(crate) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Writes the state down.
pub(crate) fn text(status: &StatusReply) -> String {
    let mut text = String::new();
    let version = format!("version=\"{}\"", escaped(&status.version));
    family(&mut text, "orlop_build", "info", "", "The daemon's version.");
    line(&mut text, "orlop_build_info", &version, 1);
    gauges(&mut text, status);
    counters(&mut text, &status.counts.unwrap_or_default(), status.log_dropped);
    flights(&mut text, status);
    text.push_str("# EOF\n");
    text
}

fn gauges(text: &mut String, status: &StatusReply) {
    let started = u64::try_from(status.started).unwrap_or_default();
    let flights = status.flights.len() as u64;
    let waiting = status.flights.iter().map(|flight| u64::from(flight.callers)).sum();
    let elsewhere = status.flights.iter().filter(|flight| flight.elsewhere).count() as u64;
    let rows: [(&str, &str, &str, u64); 13] = [
        ("orlop_start_time_seconds", "seconds", "When the daemon started, Unix time.", started),
        ("orlop_cache_bytes", "bytes", "Bytes in the cache.", status.cache_bytes),
        ("orlop_cache_limit_bytes", "bytes", "Bytes the cache may hold.", status.cache_cap_bytes),
        ("orlop_cache_free_bytes", "bytes", "Bytes free beside it.", status.free_bytes),
        (
            "orlop_cache_usable",
            "",
            "1 while the cache is used.",
            u64::from(status.cache_problem.is_empty() && !status.cache.is_empty()),
        ),
        ("orlop_flights", "", "Pieces of work under way.", flights),
        ("orlop_flights_elsewhere", "", "Those that another node does.", elsewhere),
        ("orlop_waiting", "", "Callers that wait for them.", waiting),
        ("orlop_calls", "", "Calls being served.", status.calls.into()),
        ("orlop_background", "", "Work for which nobody waits.", status.background.into()),
        ("orlop_connections", "", "Connections of clients.", status.connections.into()),
        ("orlop_memory_bytes", "bytes", "Resident memory.", status.memory_bytes),
        (
            "orlop_memory_peak_bytes",
            "bytes",
            "Most resident memory so far.",
            status.memory_peak_bytes,
        ),
    ];
    for (name, unit, help, value) in rows {
        family(text, name, "gauge", unit, help);
        line(text, name, "", value);
    }
}

fn counters(text: &mut String, counts: &Counts, log_dropped: u64) {
    let rows: [(&str, &str, &str, u64); 13] = [
        ("orlop_pulls", "", "Pulls asked for.", counts.pulls),
        ("orlop_pulls_failed", "", "Pulls that failed or were cancelled.", counts.pulls_failed),
        ("orlop_pulls_cached", "", "Pulls that found all in the cache.", counts.pulls_cached),
        ("orlop_fetched_bytes", "bytes", "Bytes of blobs from registries.", counts.fetched_bytes),
        ("orlop_layers_converted", "", "Layers converted.", counts.layers_converted),
        ("orlop_images_merged", "", "Images whose layers were merged.", counts.images_merged),
        ("orlop_made_elsewhere", "", "What other nodes made meanwhile.", counts.made_elsewhere),
        ("orlop_tags_asked", "", "Registries asked for a digest.", counts.tags_asked),
        ("orlop_tags_shared", "", "Such answers that callers shared.", counts.tags_shared),
        ("orlop_fallbacks", "", "Pulls from the cache, the registry being down.", counts.fallbacks),
        ("orlop_damaged", "", "Entries found to be damaged.", counts.damaged),
        ("orlop_removed_bytes", "bytes", "Bytes collected and cleaned.", counts.removed_bytes),
        ("orlop_log_dropped", "", "Log lines that could not be written.", log_dropped),
    ];
    for (name, unit, help, value) in rows {
        family(text, name, "counter", unit, help);
        line(text, &format!("{name}_total"), "", value);
    }
}

fn flights(text: &mut String, status: &StatusReply) {
    family(text, "orlop_flight_bytes", "gauge", "bytes", "Bytes done of a piece of work.");
    for flight in &status.flights {
        let labels = format!("what=\"{}\"", escaped(&flight.what));
        line(text, "orlop_flight_bytes", &labels, flight.bytes);
    }
}

/// Describes the lines that follow.
fn family(text: &mut String, name: &str, kind: &str, unit: &str, help: &str) {
    let _infallible = writeln!(text, "# TYPE {name} {kind}");
    if !unit.is_empty() {
        let _infallible = writeln!(text, "# UNIT {name} {unit}");
    }
    let _infallible = writeln!(text, "# HELP {name} {help}");
}

fn line(text: &mut String, name: &str, labels: &str, value: u64) {
    let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
    let _infallible = writeln!(text, "{name}{labels} {value}");
}

/// The value of a label.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_proto::v1::Flight;

    #[test]
    fn every_line_belongs_to_a_family_that_was_described_before() {
        let flight = Flight { what: "a \"b\"\n\\".to_owned(), bytes: 7, ..Flight::default() };
        let status = StatusReply { flights: vec![flight], ..StatusReply::default() };
        let text = text(&status);
        assert!(text.ends_with("# EOF\n"));
        assert!(text.contains("orlop_flight_bytes{what=\"a \\\"b\\\"\\n\\\\\"} 7\n"), "{text}");
        let mut families: Vec<(String, String)> = Vec::new();
        for line in text.lines() {
            if let Some(described) = line.strip_prefix("# TYPE ") {
                let (name, kind) = described.split_once(' ').unwrap();
                assert!(families.iter().all(|(known, _)| known != name), "{name} twice");
                families.push((name.to_owned(), kind.to_owned()));
            } else if !line.starts_with('#') {
                let (name, kind) = families.last().unwrap();
                let suffix = match kind.as_str() {
                    "counter" => "_total",
                    "info" => "_info",
                    _ => "",
                };
                let sample = line.split(['{', ' ']).next().unwrap();
                assert_eq!(sample, format!("{name}{suffix}"));
            }
        }
    }
}
