//! Tables of text: a header, rows, columns as wide as their widest cell.

use anstyle::Style;

/// On which side of its column a cell stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table being filled.
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these columns.
    pub(crate) fn new(columns: impl Into<Vec<(&'static str, Align)>>) -> Self {
        Self { columns: columns.into(), rows: Vec::new() }
    }

    /// Adds a row. Missing cells at its end stay empty.
    pub(crate) fn row(&mut self, cells: impl Into<Vec<String>>) {
        self.rows.push(cells.into());
    }

    /// Whether it has no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as lines, each with the given indent.
    pub(crate) fn render(&self, indent: &str) -> String {
        let widths: Vec<_> = (0..self.columns.len()).map(|column| self.width(column)).collect();
        let header: Vec<_> = self.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let mut text = self.line(indent, &header, &widths, Style::new().dimmed());
        for row in &self.rows {
            text += &self.line(indent, row, &widths, Style::new());
        }
        text
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([self.columns[column].0.len()]).max().unwrap_or(0)
    }

    fn line(&self, indent: &str, cells: &[String], widths: &[usize], style: Style) -> String {
        let mut line = String::new();
        for ((cell, width), (_, align)) in cells.iter().zip(widths).zip(&self.columns) {
            if !line.is_empty() {
                line += "  ";
            }
            line += &match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            };
        }
        format!("{indent}{style}{}{style:#}\n", line.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new([("node", Align::Left), ("keys", Align::Right), ("note", Align::Left)]);
        table.row(["n1".to_owned(), "12,345".to_owned(), String::new()]);
        table.row(["n10".to_owned(), "7".to_owned(), "down".to_owned()]);
        let plain = anstream::adapter::strip_str(&table.render("  ")).to_string();
        assert_eq!(plain, "  node    keys  note\n  n1    12,345\n  n10        7  down\n");
    }
}
