//! Aligned columns, as docker prints them: upper-case heads, three spaces between.

use super::{Paint, Tone, one_line};

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    text: String,
    tone: Option<Tone>,
}

impl Cell {
    pub(super) fn toned(tone: Option<Tone>, text: impl Into<String>) -> Self {
        Self { text: one_line(&text.into()), tone }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(None, text)
    }
}

/// Rows under heads.
#[derive(Debug)]
pub(super) struct Table {
    heads: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(super) fn new(heads: &[&'static str]) -> Self {
        Self { heads: heads.to_vec(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The text; nothing is padded at the end of a line.
    pub(super) fn render(&self, paint: Paint) -> String {
        let heads: Vec<Cell> = self.heads.iter().map(|head| Cell::from(*head)).collect();
        let widths: Vec<usize> = (0..heads.len())
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells.chain(heads.get(column)).map(Cell::width).max().unwrap_or(0)
            })
            .collect();
        let lines = std::iter::once(&heads).chain(&self.rows);
        lines.map(|row| line(row, &widths, paint)).collect()
    }
}

fn line(row: &[Cell], widths: &[usize], paint: Paint) -> String {
    let last = row.iter().rposition(|cell| !cell.text.is_empty()).unwrap_or(0);
    let mut text = String::new();
    for (place, (cell, width)) in row.iter().zip(widths).enumerate().take(last + 1) {
        match cell.tone {
            Some(tone) => text.push_str(&paint.paint(tone, &cell.text)),
            None => text.push_str(&cell.text),
        }
        if place < last {
            text.extend(std::iter::repeat_n(' ', width - cell.width() + 3));
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_with_and_without_colours() {
        let mut table = Table::new(&["NAME", "STATUS", "NOTE"]);
        table.row(vec!["a".into(), Cell::toned(Some(Tone::Good), "Idle"), "".into()]);
        table.row(vec!["long-name".into(), "Error".into(), "x".into()]);
        let plain = table.render(Paint::Off);
        assert_eq!(plain, "NAME        STATUS   NOTE\na           Idle\nlong-name   Error    x\n");
        let coloured = table.render(Paint::On).replace("\x1b[32m", "").replace("\x1b[0m", "");
        assert_eq!(coloured, plain);
    }
}
