//! What is said about an image: definition, labels, and the SIF's JSON objects.
//!
//! No clock, no host name: times are the image's, so the same image says the same everywhere.
//! Contract, section 6.4. Not here: the objects' place in the SIF ([`crate::recipe`]).

use std::collections::BTreeMap;

use orlop_oci::json;

use super::{Facts, scripts};

/// Texts that go into the SIF as objects, into the file system, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Objects {
    pub(crate) definition: Vec<u8>,
    /// `labels.json`.
    pub(crate) labels: Vec<u8>,
    /// `inspect-metadata.json`.
    pub(crate) inspect: Vec<u8>,
    /// `oci-config.json`.
    pub(crate) oci_config: Vec<u8>,
}

pub(super) fn objects(facts: &Facts<'_>, runscript: &str, environment: &str) -> Objects {
    let definition = format!("bootstrap: {}\nfrom: {}\n\n", facts.scheme, facts.from);
    let labels = labels(facts);
    let inspect = inspect(&labels, &definition, runscript, environment);
    Objects {
        definition: definition.into_bytes(),
        labels: indented(&labels).into_bytes(),
        inspect: inspect.into_bytes(),
        oci_config: facts.config.oci_config_json(),
    }
}

fn labels(facts: &Facts<'_>) -> BTreeMap<String, String> {
    let mut labels = facts.config.labels.clone();
    let mut set = |name: &str, value: &str| drop(labels.insert(name.to_owned(), value.to_owned()));
    set("org.label-schema.schema-version", "1.0");
    set("org.label-schema.build-date", &build_date(facts.config.created.unwrap_or(0)));
    set("org.label-schema.build-arch", &facts.platform.architecture);
    set("org.label-schema.usage.singularity.deffile.bootstrap", facts.scheme);
    set("org.label-schema.usage.singularity.deffile.from", facts.from);
    set("org.orlop.converter", facts.converter);
    labels
}

/// An object over lines, indented by tabs.
fn indented(members: &BTreeMap<String, String>) -> String {
    let lines: Vec<_> = members
        .iter()
        .map(|(name, value)| format!("\t{}: {}", json::string_text(name), json::string_text(value)))
        .collect();
    format!("{{\n{}\n}}", lines.join(",\n"))
}

fn inspect(
    labels: &BTreeMap<String, String>,
    definition: &str,
    runscript: &str,
    environment: &str,
) -> String {
    let text = |text: &str| json::string_text(text.trim_end_matches('\n'));
    let environments = [
        ("/.singularity.d/env/10-docker2singularity.sh", text(environment)),
        ("/.singularity.d/env/90-environment.sh", text(scripts::ENV_ENVIRONMENT)),
    ];
    let labels = labels.iter().map(|(name, value)| (name.as_str(), json::string_text(value)));
    let attributes = json::object_text([
        ("environment", json::object_text(environments)),
        ("labels", json::object_text(labels)),
        ("runscript", text(runscript)),
        ("deffile", text(definition)),
        ("startscript", text(scripts::STARTSCRIPT)),
    ]);
    let data = json::object_text([("attributes", attributes)]);
    json::object_text([("data", data), ("type", json::string_text("container"))])
}

/// Unix seconds as `Tuesday_24_November_2026_10:54:20_UTC`, without leading zeros.
fn build_date(seconds: i64) -> String {
    const DAYS: [&str; 7] =
        ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let days = seconds.div_euclid(86_400);
    let second_of_day = seconds.rem_euclid(86_400);
    let (year, month, day) = civil(days);
    let weekday = usize::try_from(days.rem_euclid(7)).unwrap_or(0);
    let name_of_day = DAYS.get(weekday).copied().unwrap_or_default();
    let name_of_month = MONTHS.get(month).copied().unwrap_or_default();
    let (minutes, second) = (second_of_day.div_euclid(60), second_of_day.rem_euclid(60));
    let (hour, minute) = (minutes.div_euclid(60), minutes.rem_euclid(60));
    format!("{name_of_day}_{day}_{name_of_month}_{year}_{hour}:{minute}:{second}_UTC")
}

/// Year, month from 0 and day of a number of days since 1970, in the Gregorian calendar: years
/// are counted from March, so that the leap day is the last one.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "an i64 of seconds gives days far from i64's ends"
)]
fn civil(days: i64) -> (i64, usize, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12;
    let year = year_of_era + era * 400 + i64::from(month < 2);
    (year, usize::try_from(month).unwrap_or(0), day)
}

#[cfg(test)]
mod tests {
    use super::build_date;

    #[test]
    fn dates_are_written_as_apptainer_writes_them() {
        for (seconds, text) in [
            (1_795_517_660, "Tuesday_24_November_2026_10:54:20_UTC"),
            (0, "Thursday_1_January_1970_0:0:0_UTC"),
            (951_782_400, "Tuesday_29_February_2000_0:0:0_UTC"),
            (-1, "Wednesday_31_December_1969_23:59:59_UTC"),
            (4_107_542_399, "Sunday_28_February_2100_23:59:59_UTC"),
        ] {
            assert_eq!(build_date(seconds), text);
        }
    }
}
