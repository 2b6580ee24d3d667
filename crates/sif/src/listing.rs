//! What `sif list`, `sif header` and `sif info` print.
//!
//! Foreign text is printed with its control characters escaped. Form: contract, "How listings
//! print".

use std::fmt::Write as _;

use crate::codes::{DataType, hash_name, message_format_name, message_name, sbom_name};
use crate::descriptor::{Descriptor, Link};
use crate::header::{Fields, until_zero};
use crate::reader::Sif;
use crate::time;

/// Width of the rule above and below the list's heading.
const RULE: usize = 78;
/// A fingerprint's bytes within a signature's entity.
const FINGERPRINT: usize = 20;

/// The table of objects.
#[must_use]
pub fn list(sif: &Sif) -> String {
    let rule = "-".repeat(RULE);
    let row = |id: &str, group: &str, link: &str, position: &str, kind: &str| {
        format!("{id:<4} |{group:<7} |{link:<7} |{position:<25} |{kind}\n")
    };
    let mut text = format!("{rule}\n");
    text.push_str(&row("ID", "GROUP", "LINK", "SIF POSITION (start-end)", "TYPE"));
    let _infallible = writeln!(text, "{rule}");
    for object in sif.descriptors() {
        let position = format!("{}-{}", object.offset, object.end());
        let (group, link) = (group(object), link(object));
        text.push_str(&row(&object.id.to_string(), &group, &link, &position, &kind(object)));
    }
    text
}

/// The global header.
#[must_use]
pub fn header(sif: &Sif) -> String {
    let header = sif.header();
    let launch = String::from_utf8_lossy(&header.launch_script);
    let mut lines = vec![("Launch Script:", escaped(launch.trim())), ("Version:", "01".to_owned())];
    if let Some(architecture) = header.architecture {
        lines.push(("Primary Architecture:", architecture.name().to_owned()));
    }
    if header.id != [0; 16] {
        lines.push(("ID:", uuid(header.id)));
    }
    for (label, seconds) in [("Created At:", header.created), ("Modified At:", header.modified)] {
        if seconds != time::YEAR_ONE {
            lines.push((label, time::format(seconds)));
        }
    }
    lines.extend([
        ("Descriptors Free:", header.descriptors_free.to_string()),
        ("Descriptors Total:", header.descriptors_total.to_string()),
        ("Descriptors Offset:", header.descriptors_offset.to_string()),
        ("Descriptors Size:", readable(header.descriptors_size)),
        ("Data Offset:", header.data_offset.to_string()),
        ("Data Size:", readable(header.data_size)),
    ]);
    aligned(&lines, "", 1)
}

/// One object.
#[must_use]
pub fn info(object: &Descriptor) -> String {
    let mut lines = vec![
        ("Data Type:", object.data_type.name().to_owned()),
        ("ID:", object.id.to_string()),
        ("Group ID:", group(object)),
        ("Linked ID:", linked(object)),
        ("Offset:", object.offset.to_string()),
        ("Size:", object.size.to_string()),
    ];
    for (label, seconds) in [("Created At:", object.created), ("Modified At:", object.modified)] {
        if seconds != time::YEAR_ONE {
            lines.push((label, time::format(seconds)));
        }
    }
    if !object.name.is_empty() {
        lines.push(("Name:", escaped(&String::from_utf8_lossy(&object.name))));
    }
    let mut fields = Fields(&object.extra);
    match object.data_type {
        DataType::Partition => {
            if let Some(partition) = object.partition() {
                lines.push(("Filesystem Type:", partition.file_system.name().to_owned()));
                lines.push(("Partition Type:", partition.kind.name().to_owned()));
                lines.push(("Architecture:", architecture(object)));
            }
        }
        DataType::Signature => {
            lines.push(("Hash Type:", hash_name(fields.u32()).to_owned()));
            let entity = fields.0.get(..FINGERPRINT).unwrap_or_default();
            lines.push(("Entity:", hex(entity).to_ascii_uppercase()));
        }
        DataType::CryptographicMessage => {
            lines.push(("Format Type:", message_format_name(fields.u32()).to_owned()));
            lines.push(("Message Type:", message_name(fields.u32()).to_owned()));
        }
        DataType::Sbom => lines.push(("Format:", sbom_name(fields.u32()).to_owned())),
        DataType::OciRootIndex | DataType::OciBlob => {
            let digest = String::from_utf8_lossy(until_zero(&object.extra));
            lines.push(("Digest:", escaped(&digest)));
        }
        _ => {}
    }
    aligned(&lines, "  ", 2)
}

fn group(object: &Descriptor) -> String {
    if object.group == 0 { "NONE".to_owned() } else { object.group.to_string() }
}

fn link(object: &Descriptor) -> String {
    match object.link {
        Link::None => "NONE".to_owned(),
        Link::Object(id) => id.to_string(),
        Link::Group(group) => format!("{group:<3} (G)"),
    }
}

fn linked(object: &Descriptor) -> String {
    match object.link {
        Link::Group(group) => format!("{group} (G)"),
        Link::None | Link::Object(_) => link(object),
    }
}

fn kind(object: &Descriptor) -> String {
    let name = object.data_type.name();
    let mut fields = Fields(&object.extra);
    match object.data_type {
        DataType::Partition => {
            let Some(partition) = object.partition() else { return name.to_owned() };
            let (file_system, kind) = (partition.file_system.name(), partition.kind.name());
            format!("{name} ({file_system}/{kind}/{})", architecture(object))
        }
        DataType::Signature => format!("{name} ({})", hash_name(fields.u32())),
        DataType::CryptographicMessage => {
            let format = message_format_name(fields.u32());
            format!("{name} ({format}/{})", message_name(fields.u32()))
        }
        DataType::Sbom => format!("{name} ({})", sbom_name(fields.u32())),
        _ => name.to_owned(),
    }
}

fn architecture(object: &Descriptor) -> String {
    let architecture = object.partition().and_then(|partition| partition.architecture);
    architecture.map_or("unknown", |architecture| architecture.name()).to_owned()
}

/// Lines whose values begin `gap` blanks behind the longest label.
fn aligned(lines: &[(&str, String)], indent: &str, gap: usize) -> String {
    let width = lines.iter().map(|(label, _)| label.len()).max().unwrap_or(0).saturating_add(gap);
    lines.iter().map(|(label, value)| format!("{indent}{label:<width$}{value}\n")).collect()
}

/// A number of bytes, from 1024 on rounded to whole KiB, MiB, ...
fn readable(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut unit = "B";
    let mut size: i128 = bytes.into();
    let mut divisor: i128 = 1;
    for next in UNITS {
        if size.checked_div(divisor).is_none_or(|whole| whole < 1024) {
            break;
        }
        unit = next;
        divisor = divisor.saturating_mul(1024);
    }
    size = size.saturating_add(divisor / 2);
    format!("{} {unit}", size.checked_div(divisor).unwrap_or(0))
}

fn uuid(id: [u8; 16]) -> String {
    let hex = hex(&id);
    let part = |from, to| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn escaped(text: &str) -> String {
    let show = |character: char| {
        let is_control = character.is_control();
        let escape = is_control.then(|| character.escape_default());
        let plain = (!is_control).then_some(character);
        escape.into_iter().flatten().chain(plain)
    };
    text.chars().flat_map(show).collect()
}
