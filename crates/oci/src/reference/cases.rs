//! `tests/data/reference-cases.toml`, a test a row. A row of the file without a name here fails
//! [`every_row_of_the_file_has_a_test`].

use super::*;

#[path = "../../../../tests/data/reference_cases.rs"]
mod data;

use data::cases;

/// Runs the row with this number, counted from 1.
fn run(number: usize) {
    let case = cases().into_iter().nth(number.saturating_sub(1)).unwrap();
    let found = Reference::parse(&case.input);
    let Ok(reference) = found else {
        let error = found.unwrap_err();
        assert_eq!(Some(error.kind.name()), case.error.as_deref(), "{case:?}");
        assert!(case.input.starts_with(&error.text), "{case:?}: {error}");
        return;
    };
    assert_eq!(case.error, None, "{case:?} parses as {reference}");
    assert_eq!(Some(reference.host().as_str()), case.host.as_deref(), "{case:?}");
    assert_eq!(Some(reference.path()), case.path.as_deref(), "{case:?}");
    assert_eq!(reference.tag(), case.tag.as_deref(), "{case:?}");
    assert_eq!(reference.digest().map(ToString::to_string), case.digest, "{case:?}");
    assert_eq!(Some(reference.canonical()), case.canonical, "{case:?}");
    assert_eq!(Some(reference.familiar()), case.familiar, "{case:?}");
    let canonical = case.canonical.as_deref().unwrap();
    assert_eq!(Reference::parse_canonical(canonical).as_ref(), Ok(&reference), "{case:?}");
    assert_eq!(Reference::parse(&reference.familiar()).as_ref(), Ok(&reference), "{case:?}");
}

macro_rules! rows {
    ($($name:ident: $number:literal,)*) => {
        $(#[test]
        fn $name() {
            run($number);
        })*

        #[test]
        fn every_row_of_the_file_has_a_test() {
            let named = [$($number),*];
            assert!(named.iter().copied().eq(1..=cases().len()), "{named:?}");
        }
    };
}

rows! {
    row_01_ubuntu: 1,
    row_02_ubuntu_colon_22_dot_04: 2,
    row_03_library_debian: 3,
    row_04_docker_io_alpine: 4,
    row_05_docker_io_library_alpine_3_20: 5,
    row_06_index_docker_io_alpine: 6,
    row_07_index_docker_io_myorg_tool_1: 7,
    row_08_registry_1_docker_io_library_alpine: 8,
    row_09_biocontainers_samtools_1_9_h91753b0_8: 9,
    row_10_ghcr_io_apptainer_apptainer: 10,
    row_11_ghcr_io_apptainer_alpine_latest: 11,
    row_12_quay_io_a_b_c_d_v1: 12,
    row_13_localhost_slash_foo: 13,
    row_14_localhost_5000_foo: 14,
    row_15_localhost: 15,
    row_16_myhost_slash_foo: 16,
    row_17_myhost_5000_foo: 17,
    row_18_myhost_colon_5000: 18,
    row_19_test_dot_com_colon_tag: 19,
    row_20_example_dot_com: 20,
    row_21_192_168_1_1_5000_repo_5050: 21,
    row_22_1_5000_repo: 22,
    row_23_2001_db8_1_repo_tag: 23,
    row_24_2001_db8_1_5000: 24,
    row_25_fc00_1_5000_debian: 25,
    row_26_alpine_sha256_hex: 26,
    row_27_alpine_3_20_sha256_hex: 27,
    row_28_example_com_5000_a_b_tag_sha256_hex: 28,
    row_29_alpine_sha512_hex: 29,
    row_30_alpine_sha256_hex: 30,
    row_31_alpine_sha256_hex: 31,
    row_32_alpine_md5_hex: 32,
    row_33_alpine_at_sha256: 33,
    row_34_alpine: 34,
    row_35_docker_io_library_alpine: 35,
    row_36_example_com_foo: 36,
    row_37_docker_slash_docker: 37,
    row_38_alpine_colon_latest: 38,
    row_39_alpine_colon: 39,
    row_40_alpine_colon_x: 40,
    row_41_alpine_colon_x: 41,
    row_42_alpine_ttttttttttttttttttttttttttttttttttttttttttt: 42,
    row_43_alpine_ttttttttttttttttttttttttttttttttttttttttttt: 43,
    row_44_a_colon_b_colon_c: 44,
    row_45: 45,
    row_46_colon_tag: 46,
    row_47_at_sha256_colon_hex: 47,
    row_48_docker_docker: 48,
    row_49_docker_docker: 49,
    row_50_docker_rules_docker: 50,
    row_51_dock_er_docker: 51,
    row_52_dock_er_docker: 52,
    row_53_dock_er_docker: 53,
    row_54_docker_slash_x: 54,
    row_55_docker_docker: 55,
    row_56_docker_slash: 56,
    row_57_slash_docker: 57,
    row_58_https_ghcr_io_a_b: 58,
    row_59_docker_alpine: 59,
    row_60_hex: 60,
    row_61_docker_dot_io_slash_hex: 61,
    row_62_hex_colon_1: 62,
    row_63_xn_n3h_com_myimage_xn_n3h_com: 63,
    row_64_foo_bar_com_8080_x: 64,
    row_65_foo_bar_slash_x: 65,
    row_66_b_gcr_io_test_example_com_my_app_test_example_com: 66,
    row_67_example_com_hex: 67,
    row_68_example_com_hex: 68,
    row_69_alpine_latest: 69,
    row_70_alp_ne: 70,
    row_71_alpine: 71,
    row_72_alpine: 72,
    row_73_host_example_x: 73,
    row_74_ex_ample_com_x: 74,
    row_75_example_com_port_x: 75,
    row_76_example_com_x: 76,
    row_77_example_com_99999_x: 77,
    row_78_a_b_c_sha256_hex_tag: 78,
}
