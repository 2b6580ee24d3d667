//! Numbers of tar headers and pax records.
//!
//! Read as Go's archive/tar reads them (strconv.go), because every other OCI tool does: octal with
//! blanks and NULs around it, base-256 with a sign, decimal with an optional sign.
//! Not here: which numbers may be negative or how large ([`super`]).

use super::Fault;

/// The bytes before the first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// A number field of a header: base-256 if its first bit is set, else octal.
pub(super) fn numeric(field: &[u8]) -> Result<i64, Fault> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => base256(field),
        _ => octal(field),
    }
}

/// Two's complement, big-endian, below the field's first bit.
fn base256(field: &[u8]) -> Result<i64, Fault> {
    let overflow = || Fault::invalid("a base-256 number does not fit in 64 bits");
    let negative = field.first().is_some_and(|first| first & 0x40 != 0);
    let invert = if negative { 0xff } else { 0 };
    let mut value = 0_u64;
    for (position, byte) in field.iter().enumerate() {
        let byte = byte ^ invert;
        let byte = if position == 0 { byte & 0x7f } else { byte };
        if value >> 56 != 0 {
            return Err(overflow());
        }
        value = value << 8 | u64::from(byte);
    }
    let value = i64::try_from(value).map_err(|_| overflow())?;
    Ok(if negative { !value } else { value })
}

/// Octal digits, blanks and NULs around them; nothing at all is 0.
pub(super) fn octal(field: &[u8]) -> Result<i64, Fault> {
    let is_pad = |byte: &u8| matches!(byte, b' ' | 0);
    let from = field.iter().position(|byte| !is_pad(byte)).unwrap_or(field.len());
    let to =
        field.iter().rposition(|byte| !is_pad(byte)).map_or(from, |last| last.saturating_add(1));
    let digits = text(field.get(from..to).unwrap_or_default());
    let mut value = 0_i64;
    for digit in digits {
        let digit = match digit {
            b'0'..=b'7' => i64::from(digit & 7),
            _ => return Err(Fault::invalid("a number field is not octal")),
        };
        value = value
            .checked_mul(8)
            .and_then(|value| value.checked_add(digit))
            .ok_or_else(|| Fault::invalid("an octal number does not fit in 64 bits"))?;
    }
    // "\0 \0 5" trims to a text that begins with no digit: Go's ParseUint refuses the empty text.
    if digits.is_empty() && from < to {
        return Err(Fault::invalid("a number field is not octal"));
    }
    Ok(value)
}

/// A decimal number of a pax record: sign and digits, nothing else.
pub(super) fn decimal(value: &[u8]) -> Option<i64> {
    let digits = match value {
        [b'+' | b'-', digits @ ..] | digits => digits,
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// A time of a pax record, in whole seconds, rounded down.
pub(super) fn pax_time(value: &[u8]) -> Option<i64> {
    let mut parts = value.splitn(2, |&byte| byte == b'.');
    let whole = parts.next().unwrap_or_default();
    let seconds = decimal(whole)?;
    let below = parts.next().unwrap_or_default();
    if !below.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // Go keeps nanoseconds: digits past the ninth count for nothing.
    let fraction = below.iter().take(9).any(|&digit| digit != b'0');
    if fraction && whole.first() == Some(&b'-') {
        return Some(seconds.saturating_sub(1));
    }
    Some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_fields_are_read_as_go_reads_them() {
        for (field, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0", Some(0)),
            (b"", Some(0)),
            (b"77777777777", Some(0o77_777_777_777)),
            (b"12\x0034\0", Some(0o12)),
            (b"648", None),
            (b"-1", None),
            (b"1e3", None),
        ] {
            assert_eq!(octal(field).ok(), value, "{field:?}");
        }
    }

    #[test]
    fn base_256_fields_have_a_sign_and_63_bits() {
        let mut nine_gib = [0_u8; 12];
        nine_gib[0] = 0x80;
        nine_gib[7] = 2;
        nine_gib[8] = 0x40;
        assert_eq!(numeric(&nine_gib).ok(), Some(9 << 30));
        assert_eq!(numeric(&[0xff; 12]).ok(), Some(-1));
        let mut large = [0_u8; 12];
        large[0] = 0x80;
        large[4] = 0x80;
        assert_eq!(numeric(&large).ok(), None);
    }

    #[test]
    fn pax_times_are_rounded_down() {
        for (text, seconds) in [
            ("1.9", Some(1)),
            ("-5.5", Some(-6)),
            ("-5.0", Some(-5)),
            ("7", Some(7)),
            ("nan", None),
            ("1e3", None),
            ("1.x", None),
            (".5", None),
            ("", None),
        ] {
            assert_eq!(pax_time(text.as_bytes()), seconds, "{text}");
        }
    }
}
