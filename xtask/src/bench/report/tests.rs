//! What a report looks like, by hand-made samples. Not here: measuring them.

use super::*;
use crate::bench::requests::Fetched;

fn report() -> Report {
    let mut report = Report::default();
    let mut limit = 0;
    for wall in [5_000.0, 5_200.0, 5_100.0] {
        limit = report.add("sci", "limit", FLOOR, Sample::of(wall));
        let row = report.add("sci", "cold pull", "orlop", Sample::of(wall + 500.0));
        report.compare(row, limit);
        report.bound(row, Bound::Times(1.15, 0.0));
        report.add("sci", "cold pull", "apptainer", Sample::of(wall * 20.0));
    }
    report.bound(limit, Bound::Under(5_000.0));
    report.compare_peers();
    report
}

#[test]
fn rows_have_medians_ratios_and_bounds() {
    let text = report().text();
    let line = |words: &str| text.lines().find(|line| line.contains(words)).unwrap().to_owned();
    let words = |line: String| {
        let cells = line.split('|').map(|cell| cell.trim().to_owned());
        cells.filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(
        words(line(" orlop |")),
        "cold pull, orlop, 3, 5.60 s, 5.50 s, 5.70 s, 1.10x limit, 1.15x: kept"
    );
    assert_eq!(
        words(line("apptainer |")),
        "cold pull, apptainer, 3, 102 s, 100 s, 104 s, 18.21x orlop"
    );
    assert!(line("machine").contains("5.00 s: missed"));
}

#[test]
fn the_summary_has_a_column_for_each_program() {
    let text = report().summary();
    let line = text.lines().find(|line| line.contains("cold pull")).unwrap();
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    assert_eq!(cells[2..5], ["5.60 s", "102 s", "18.2x"]);
    assert!(text.contains("apptainer / orlop"));
}

#[test]
fn raw_lines_have_all_columns() {
    let mut report = report();
    let fetched = Fetched { blobs: 3, gets: 3, bytes: 10, is_twice: false };
    let sample = Sample { fetched: Some(fetched), ..Sample::of(1.0) };
    let row = report.add("many", "pulls", "orlop", sample);
    report.bound(row, Bound::Once);
    let raw = report.raw();
    assert_eq!(raw.lines().count(), 11);
    assert!(raw.lines().all(|line| line.split('\t').count() == 12));
    assert!(report.text().contains("3 blobs, 1 GET each"));
    assert!(report.text().contains("each byte once: kept"));
}
