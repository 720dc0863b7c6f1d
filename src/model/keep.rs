//! The tiers of `server.toml`: `keep = { daily = 14, weekly = 8, within = "7d" }`.
//!
//! They are read leniently on purpose. A rule that is not understood must delete nothing, and it must not
//! stop the gate either; so it becomes a value that says what is wrong with it.

use serde::{Deserialize, Deserializer};

use super::span::Span;

/// How many snapshots are kept of each kind of period, the newest of such periods first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// One for each of so many days (UTC).
    pub daily: u32,
    /// One for each of so many weeks, which begin on Monday.
    pub weekly: u32,
    /// One for each of so many months.
    pub monthly: u32,
    /// One for each of so many years.
    pub yearly: u32,
    /// All that are younger than this.
    pub within: Span,
}

/// What a `keep` in the configuration turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// A rule.
    Valid(Keep),
    /// No rule: nothing is deleted by it. Says why, in one clause.
    Broken(String),
}

const KEYS: &str = "daily, weekly, monthly, yearly (numbers) and within (a length of time)";

impl Rule {
    fn parse(value: &toml::Value) -> Result<Keep, String> {
        let table = value.as_table().ok_or_else(|| format!("it is no table of {KEYS}"))?;
        let mut keep = Keep { daily: 0, weekly: 0, monthly: 0, yearly: 0, within: Span::seconds(0) };
        for (key, value) in table {
            match key.as_str() {
                "daily" => keep.daily = count(key, value)?,
                "weekly" => keep.weekly = count(key, value)?,
                "monthly" => keep.monthly = count(key, value)?,
                "yearly" => keep.yearly = count(key, value)?,
                "within" => keep.within = Span::deserialize(value.clone()).map_err(|e| told(key, &e))?,
                _ => return Err(format!("{key:?} is none of {KEYS}")),
            }
        }
        if keep == (Keep { daily: 0, weekly: 0, monthly: 0, yearly: 0, within: Span::seconds(0) }) {
            return Err("it keeps nothing".to_owned());
        }
        Ok(keep)
    }
}

fn count(key: &str, value: &toml::Value) -> Result<u32, String> {
    u32::deserialize(value.clone()).map_err(|error| told(key, &error))
}

fn told(key: &str, error: &toml::de::Error) -> String {
    format!("{key}: {}", error.message().replace('\n', " "))
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = toml::Value::deserialize(deserializer)?;
        Ok(Self::parse(&value).map_or_else(Self::Broken, Self::Valid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        #[derive(Deserialize)]
        struct File {
            keep: Rule,
        }
        toml::from_str::<File>(&format!("keep = {text}")).unwrap().keep
    }

    #[test]
    fn a_rule_is_read_and_what_is_left_out_counts_nothing() {
        let all = r#"{ daily = 14, weekly = 8, monthly = 12, yearly = 3, within = "7d" }"#;
        let expected = Keep { daily: 14, weekly: 8, monthly: 12, yearly: 3, within: Span::days(7) };
        assert_eq!(rule(all), Rule::Valid(expected));
        let one = Keep { daily: 0, weekly: 0, monthly: 0, yearly: 1, within: Span::seconds(0) };
        assert_eq!(rule("{ yearly = 1 }"), Rule::Valid(one));
    }

    #[test]
    fn what_is_no_rule_says_why_and_is_no_error() {
        for (text, word) in [
            ("{}", "nothing"),
            ("{ daily = 0 }", "nothing"),
            ("{ dayly = 5 }", "\"dayly\""),
            ("{ daily = 5, hourly = 3 }", "\"hourly\""),
            ("{ daily = -1 }", "daily: "),
            ("{ daily = '5' }", "daily: "),
            ("{ daily = 1.5 }", "daily: "),
            ("{ daily = 99999999999 }", "daily: "),
            ("{ within = 'soon' }", "within: "),
            ("''", "no table"),
            ("7", "no table"),
            ("['daily']", "no table"),
        ] {
            let Rule::Broken(why) = rule(text) else { panic!("{text} was taken for a rule") };
            assert!(why.contains(word) && !why.contains('\n'), "{text}: {why}");
        }
    }
}
