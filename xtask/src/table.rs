//! A table of figures, in the form of Markdown.

/// Rows under a head; the first column is text, the others are figures.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(head: Vec<String>) -> Self {
        Self { rows: vec![head] }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Lines of equal width.
    pub(crate) fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cell = |row: &Vec<String>, column: usize| row.get(column).cloned().unwrap_or_default();
        let width = |column| {
            self.rows.iter().map(|row| cell(row, column).chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            for (column, width) in widths.iter().enumerate() {
                let content = cell(row, column);
                let padded = match column {
                    0 => format!("| {content:<width$} "),
                    _ => format!("| {content:>width$} "),
                };
                text.push_str(&padded);
            }
            text.push_str("|\n");
            if number == 0 {
                let rules = widths.iter().enumerate().map(|(column, width)| match column {
                    0 => format!("|{}", "-".repeat(width + 2)),
                    _ => format!("|{}:", "-".repeat(width + 1)),
                });
                text.extend(rules);
                text.push_str("|\n");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn figures_stand_below_each_other() {
        let mut table = Table::new(vec!["what".into(), "s".into()]);
        table.row(vec!["cold".into(), "10.5".into()]);
        assert_eq!(table.text(), "| what |    s |\n|------|-----:|\n| cold | 10.5 |\n");
    }
}
