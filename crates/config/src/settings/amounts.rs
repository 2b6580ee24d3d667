//! Amounts as people write them: bytes with a unit, times with a unit.
//!
//! Not here: printing them (`orlop-client`).

use std::time::Duration;

/// Reads `50GiB`, `50G`, `500MB`, `1.5 TiB` or a plain number of bytes. `K`, `M`, `G`, `T` alone
/// are powers of 1024, `KB`, `MB`, `GB`, `TB` powers of 1000.
#[must_use]
pub fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    };
    scale(number, factor)
}

/// Reads `10min`, `90s`, `1h`, `500ms` or a plain number of seconds.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    scale(number, milliseconds).map(Duration::from_millis)
}

fn split(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let (number, unit) = text.split_at_checked(end.unwrap_or(text.len()))?;
    Some((number, unit.trim()))
}

/// A decimal number times a factor, without floating point.
fn scale(number: &str, factor: u64) -> Option<u64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let mut sum = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    if part.len() > 9 {
        return None;
    }
    if !part.is_empty() {
        let places = 10_u128.checked_pow(u32::try_from(part.len()).ok()?)?;
        let part = part.parse::<u128>().ok()?.checked_mul(u128::from(factor))?;
        sum = sum.checked_add(u64::try_from(part.checked_div(places)?).ok()?)?;
    }
    Some(sum)
}
