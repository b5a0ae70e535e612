//! How the client subcommands print: aligned tables for people, JSON for programs.

use std::io::{self, Write};

use serde_json::Value;

use crate::export::csv;

/// Widest table, in characters.
const WIDTH: usize = 100;

/// What to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Aligned columns.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One JSON object a line.
    Jsonl,
}

/// Writes items as JSON: a document, or one a line.
pub(super) fn json(out: &mut dyn Write, format: Format, items: &[Value]) -> io::Result<()> {
    match format {
        Format::Jsonl => items.iter().try_for_each(|item| writeln!(out, "{item}")),
        Format::Json | Format::Table => {
            serde_json::to_writer_pretty(&mut *out, items)?;
            writeln!(out)
        }
    }
}

/// Writes items: a table with a row for each, or JSON.
pub(super) fn items(
    out: &mut dyn Write,
    format: Format,
    items: &[Value],
    head: &[&str],
    row: impl Fn(&Value) -> Vec<String>,
) -> io::Result<()> {
    match format {
        Format::Table => table(out, head, &items.iter().map(row).collect::<Vec<_>>()),
        Format::Json | Format::Jsonl => json(out, format, items),
    }
}

/// Writes one object as JSON.
pub(super) fn json_object(out: &mut dyn Write, format: Format, object: &Value) -> io::Result<()> {
    match format {
        Format::Jsonl => writeln!(out, "{object}"),
        Format::Json | Format::Table => {
            serde_json::to_writer_pretty(&mut *out, object)?;
            writeln!(out)
        }
    }
}

/// Writes a table of at most 100 columns. Too wide, its widest cells are cut short.
pub(super) fn table(out: &mut dyn Write, head: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let gaps = 2 * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > WIDTH {
        let Some(widest) = widths.iter_mut().max() else { break };
        *widest -= 1;
    }
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    for row in std::iter::once(&head).chain(&rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let cell = cut(cell, *width);
            let padding = width - cell.chars().count();
            line.push_str(&cell);
            line.extend(std::iter::repeat_n(' ', padding + 2));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Returns a text without control characters: names come from strangers and must not steer a terminal.
#[must_use]
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// Returns a text field, or a dash.
#[must_use]
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// Returns a time of the API to the second, without date marks that a column has no room for.
#[must_use]
pub(super) fn moment(value: &Value) -> String {
    let text = text(value);
    match (text.get(..10), text.get(11..19)) {
        (Some(date), Some(time)) => format!("{date} {time}"),
        _ => text,
    }
}

/// Returns a number of bytes or packets in at most five characters.
#[must_use]
pub(super) fn amount(value: &Value) -> String {
    let Some(number) = value.as_u64() else { return text(value) };
    let units = ["", "K", "M", "G", "T", "P", "E"];
    let (mut scaled, mut unit) = (number as f64, 0);
    while scaled >= 1_000.0 && unit + 1 < units.len() {
        scaled /= 1_000.0;
        unit += 1;
    }
    match unit {
        0 => number.to_string(),
        _ => format!("{scaled:.1}{}", units[unit]),
    }
}

/// Returns a value as a cell of comma-separated values (RFC 4180).
#[must_use]
pub(super) fn cell(value: &Value) -> String {
    if value.is_null() {
        return String::new();
    }
    csv::cell(&text(value))
}

/// Returns an address with its port.
#[must_use]
pub(super) fn end(address: &Value, port: &Value) -> String {
    let address = text(address);
    match address.contains(':') {
        true => format!("[{address}]:{}", text(port)),
        false => format!("{address}:{}", text(port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(head: &[&str], rows: &[Vec<String>]) -> String {
        let mut out = Vec::new();
        table(&mut out, head, rows).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_blanks() {
        let rows = [vec!["1".to_owned(), "x".to_owned()], vec!["22".to_owned(), "yyy".to_owned()]];

        assert_eq!(printed(&["ID", "NAME"], &rows), "ID  NAME\n1   x\n22  yyy\n");
    }

    #[test]
    fn no_line_is_wider_than_a_hundred_characters() {
        let rows = [vec!["a".repeat(90), "b".repeat(300), "c".into()]];

        let printed = printed(&["A", "B", "C"], &rows);

        assert!(printed.lines().all(|line| line.chars().count() <= 100));
        assert!(printed.contains('…') && printed.contains('c'));
    }

    #[test]
    fn what_steers_a_terminal_is_not_printed() {
        let rows = [vec!["\x1b[2Jevil\n".to_owned()]];

        assert_eq!(printed(&["NAME"], &rows).lines().count(), 2);
        assert!(!printed(&["NAME"], &rows).contains('\x1b'));
    }

    #[test]
    fn amounts_fit_their_column() {
        for (number, expected) in [(0, "0"), (999, "999"), (1_000, "1.0K"), (1_500_000, "1.5M"), (u64::MAX, "18.4E")] {
            assert_eq!(amount(&number.into()), expected);
        }
    }
}
