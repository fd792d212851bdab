//! Numbers as a person reads them at a glance: short, always of about the same width.

use std::time::Duration;

/// The text for a missing number.
pub const NONE: &str = "-";

/// `950`, `12.3k`, `4.56M`: three digits that count.
pub fn count(number: f64) -> String {
    scaled(number, 1000.0, &["", "k", "M", "G", "T", "P"])
}

/// `950B`, `12.3K`, `4.56M`, in steps of 1,024 as INFO's used_memory_human.
pub fn bytes(number: u64) -> String {
    scaled(number as f64, 1024.0, &["B", "K", "M", "G", "T", "P"])
}

/// `92.1%`.
pub fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| NONE.to_owned(), |share| format!("{:.1}%", share * 100.0))
}

/// `850ms`, `42s`, `3m 12s`, `5h 03m`, `12d 04h`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{}ms", duration.as_millis()),
        1..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d {:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// A name that may be any bytes, as text that cannot do anything to a terminal.
pub fn name(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let printable = |c: char| match c {
        // Those that turn the direction of what follows.
        '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            c.escape_default().to_string()
        }
        _ if c.is_control() => c.escape_default().to_string(),
        _ => c.to_string(),
    };
    text.chars().map(printable).collect()
}

fn scaled(number: f64, step: f64, units: &[&str]) -> String {
    let mut value = number;
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    // 999.5 would be printed as 1000.
    while value >= 999.5 {
        let Some(next) = units.next() else { break };
        (value, unit) = (value / step, next);
    }
    // A plain count of things has no decimals; a rate may.
    let decimals = match value {
        _ if value.fract() == 0.0 && number < 999.5 => 0,
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_keep_three_digits() {
        let told = [0.0, 7.0, 0.25, 999.0, 999.6, 1000.0, 12_345.0, 4_560_000.0, 2e9].map(count);
        assert_eq!(told, ["0", "7", "0.25", "999", "1.00k", "1.00k", "12.3k", "4.56M", "2.00G"]);
    }

    #[test]
    fn bytes_go_by_1024() {
        let told = [0, 950, 1000, 1024, 67_108_864, u64::MAX].map(bytes);
        assert_eq!(told, ["0B", "950B", "0.98K", "1.00K", "64.0M", "16384P"]);
    }

    #[test]
    fn shares_are_percents_and_none_is_a_dash() {
        assert_eq!([Some(0.0), Some(0.9214), Some(1.0), None].map(percent), ["0.0%", "92.1%", "100.0%", "-"]);
    }

    #[test]
    fn durations_name_their_two_largest_units() {
        let told =
            [850, 42_000, 192_000, 18_180_000, 1_051_200_000].map(|ms| duration(Duration::from_millis(ms)));
        assert_eq!(told, ["850ms", "42s", "3m 12s", "5h 03m", "12d 04h"]);
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        assert_eq!(name(b"helper/v7"), "helper/v7");
        assert_eq!(name("Zo\u{eb}".as_bytes()), "Zo\u{eb}");
        assert_eq!(name(b"\x1b[2Jgone\r\n"), "\\u{1b}[2Jgone\\r\\n");
        assert_eq!(name(b"\xff"), "\u{fffd}");
        assert_eq!(
            name("a\u{202e}b\u{2066}c".as_bytes()),
            "a\\u{202e}b\\u{2066}c",
            "nor turn its text around"
        );
    }
}
