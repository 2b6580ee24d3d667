//! The report: rows of samples, compared with other rows and with bounds, as Markdown and raw.

use super::sample::{Sample, median, time};
use crate::table::Table;

/// What a row must keep.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bound {
    /// At most so many times the row that it is compared with, and so many milliseconds more.
    Times(f64, f64),
    /// At most so many milliseconds.
    Under(f64),
    /// No byte of a blob is asked for twice.
    Once,
}

#[derive(Debug)]
struct Row {
    case: &'static str,
    what: String,
    program: &'static str,
    samples: Vec<Sample>,
    /// The row it is compared with.
    against: Option<usize>,
    bound: Option<Bound>,
}

impl Row {
    fn median(&self) -> Option<f64> {
        median(self.samples.iter().map(|sample| sample.wall))
    }
}

/// Rows in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Report {
    rows: Vec<Row>,
}

/// What stands in the summary, and in which row it is found: case and row.
const SUMMARY: [(&str, &str, &str); 12] = [
    ("limit: `igzip -dc` to `zstd -3`, `sci`", "sci", "limit"),
    ("cold pull of `sci` to a SIF", "sci", "cold pull"),
    ("a child of `sci` (one layer more) after it", "sci", "child pull, parent cached"),
    ("cold pull of `base` to a SIF", "base", "cold pull"),
    ("pull of `sci` again, cached (the SIF is written)", "sci", "cached pull"),
    ("`exec base.sif`, first output, first", "base", "exec of the SIF, first: first output"),
    ("`exec base.sif`, first output, after that", "base", "exec of the SIF, next: first output"),
    ("`exec base.sif`, to its end, after that", "base", "exec of the SIF, next: to its end"),
    ("`exec docker://…/base`, cached, first output", "base", "exec by name, cached: first output"),
    ("import of numpy, scipy, pandas, matplotlib, SIF not in memory", "sci", "import, first"),
    ("the same while another runs", "sci", "import, next to another"),
    ("two images at once", "two", "two images at once"),
];

impl Report {
    /// Adds a sample to the row of this name, which is made where there is none.
    pub(super) fn add(
        &mut self,
        case: &'static str,
        what: impl Into<String>,
        program: &'static str,
        sample: Sample,
    ) -> usize {
        let what = what.into();
        let found = self
            .rows
            .iter()
            .position(|row| row.case == case && row.what == what && row.program == program);
        let at = found.unwrap_or_else(|| {
            let samples = Vec::new();
            self.rows.push(Row { case, what, program, samples, against: None, bound: None });
            self.rows.len() - 1
        });
        if let Some(row) = self.rows.get_mut(at) {
            row.samples.push(sample);
        }
        at
    }

    /// Compares a row with another one.
    pub(super) fn compare(&mut self, row: usize, against: usize) {
        if let Some(row) = self.rows.get_mut(row) {
            row.against = Some(against);
        }
    }

    /// Gives a row a bound.
    pub(super) fn bound(&mut self, row: usize, bound: Bound) {
        if let Some(row) = self.rows.get_mut(row) {
            row.bound = Some(bound);
        }
    }

    /// Compares all other programs' rows with Orlop's of the same name.
    pub(super) fn compare_peers(&mut self) {
        for at in 0..self.rows.len() {
            let own = |row: &Row| {
                self.rows.iter().position(|own| {
                    own.program == "orlop" && own.case == row.case && own.what == row.what
                })
            };
            let Some(row) = self.rows.get(at) else { continue };
            if row.program == "orlop" || row.against.is_some() {
                continue;
            }
            let found = own(row);
            if let Some(row) = self.rows.get_mut(at) {
                row.against = found;
            }
        }
    }

    /// A table for each case, in Markdown.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut cases: Vec<&str> = self.rows.iter().map(|row| row.case).collect();
        cases.dedup();
        for case in cases {
            let head = [
                "what",
                "program",
                "n",
                "median",
                "min",
                "max",
                "CPU-s",
                "daemon MiB",
                "client MiB",
                "blobs fetched",
                "compared",
                "bound",
            ];
            let mut table = Table::new(head.map(str::to_owned).to_vec());
            for row in self.rows.iter().filter(|row| row.case == case) {
                table.row(self.cells(row));
            }
            text.push_str(&format!("### {case}\n\n{}\n", table.text()));
        }
        text
    }

    fn cells(&self, row: &Row) -> Vec<String> {
        let walls = || row.samples.iter().map(|sample| sample.wall);
        let told = |figure: Option<f64>| figure.map_or_else(String::new, time);
        let cpu = median(row.samples.iter().filter_map(|sample| sample.cpu));
        let most = |peaks: Vec<u64>| {
            let most = peaks.into_iter().max();
            most.map_or_else(String::new, |bytes| {
                format!("{:.0}", bytes as f64 / f64::from(1 << 20))
            })
        };
        let fetched = row.samples.iter().filter_map(|sample| sample.fetched.as_ref());
        let worst = fetched.max_by_key(|one| (one.is_twice, one.gets));
        vec![
            row.what.clone(),
            row.program.to_owned(),
            row.samples.len().to_string(),
            told(row.median()),
            told(walls().min_by(f64::total_cmp)),
            told(walls().max_by(f64::total_cmp)),
            cpu.map_or_else(String::new, |cpu| format!("{cpu:.2}")),
            most(row.samples.iter().filter_map(|sample| sample.daemon_peak).collect()),
            most(row.samples.iter().filter_map(|sample| sample.client_peak).collect()),
            worst.map_or_else(String::new, super::requests::Fetched::words),
            self.compared(row),
            self.verdict(row),
        ]
    }

    fn against(&self, row: &Row) -> Option<(&Row, f64)> {
        let other = self.rows.get(row.against?)?;
        Some((other, other.median()?))
    }

    fn compared(&self, row: &Row) -> String {
        match (row.median(), self.against(row)) {
            (Some(own), Some((other, median))) if median > 0.0 => {
                let name = if other.what == row.what { other.program } else { &other.what };
                format!("{:.2}x {name}", own / median)
            }
            _ => String::new(),
        }
    }

    fn verdict(&self, row: &Row) -> String {
        let Some((bound, own)) = row.bound.zip(row.median()) else { return String::new() };
        let (words, is_kept) = match bound {
            Bound::Times(times, more) => {
                let Some((_, other)) = self.against(row) else { return String::new() };
                let plus = if more > 0.0 { format!(" + {}", time(more)) } else { String::new() };
                (format!("{times}x{plus}"), own <= other * times + more)
            }
            Bound::Under(most) => (time(most), own <= most),
            Bound::Once => {
                let mut fetched = row.samples.iter().filter_map(|sample| sample.fetched.as_ref());
                ("each byte once".to_owned(), fetched.all(|one| !one.is_twice))
            }
        };
        format!("{words}: {}", if is_kept { "kept" } else { "missed" })
    }

    /// The main figures, a column for each program, and how many times as long the first peer takes.
    pub(super) fn summary(&self) -> String {
        let mut programs: Vec<&'static str> = Vec::new();
        for row in &self.rows {
            if !programs.contains(&row.program) && row.program != FLOOR {
                programs.push(row.program);
            }
        }
        programs.sort_by_key(|name| *name != "orlop");
        let peer = programs.get(1).copied();
        let mut head = vec!["what".to_owned()];
        head.extend(programs.iter().map(|&name| name.to_owned()));
        head.extend(peer.map(|peer| format!("{peer} / orlop")));
        let mut table = Table::new(head);
        for (words, case, what) in SUMMARY {
            let of = |program: &str| {
                let is =
                    |row: &&Row| row.case == case && row.what == what && row.program == program;
                self.rows.iter().find(is).and_then(Row::median)
            };
            let own = of("orlop").or_else(|| of(FLOOR));
            let Some(own) = own else { continue };
            let mut row = vec![words.to_owned(), time(own)];
            row.extend(programs.iter().skip(1).map(|name| of(name).map_or_else(String::new, time)));
            let times = peer.and_then(of).map(|peer| format!("{:.1}x", peer / own));
            row.push(times.unwrap_or_default());
            row.truncate(programs.len() + 1 + usize::from(peer.is_some()));
            table.row(row);
        }
        table.text()
    }

    /// All samples, a line each, columns named in the first.
    pub(super) fn raw(&self) -> String {
        let mut text = "case\twhat\tprogram\tnumber\twall_ms\tcpu_s\tdaemon_peak_bytes\t\
                        client_peak_bytes\tblobs\tgets\tfetched_bytes\tis_twice\n"
            .to_owned();
        for row in &self.rows {
            for (number, one) in row.samples.iter().enumerate() {
                let told = |figure: Option<u64>| figure.map_or_else(String::new, |f| f.to_string());
                let cpu = one.cpu.map_or_else(String::new, |cpu| format!("{cpu:.4}"));
                let fetched = one.fetched.as_ref().map_or_else(
                    || "\t\t\t".to_owned(),
                    |f| format!("{}\t{}\t{}\t{}", f.blobs, f.gets, f.bytes, f.is_twice),
                );
                text.push_str(&format!(
                    "{}\t{}\t{}\t{}\t{:.3}\t{cpu}\t{}\t{}\t{fetched}\n",
                    row.case,
                    row.what,
                    row.program,
                    number + 1,
                    one.wall,
                    told(one.daemon_peak),
                    told(one.client_peak),
                ));
            }
        }
        text
    }
}

/// What the rows are of that no program of pulls is in: limits and floors.
pub(super) const FLOOR: &str = "machine";

#[cfg(test)]
mod tests;
