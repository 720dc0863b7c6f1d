//! What the server remembers of the last push that was completed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::run::Push;

/// The record in `STORE/.byteback/clients/NAME/receipt.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The version of this form: 1.
    pub schema: u32,
    /// What the client was told.
    pub id: Option<String>,
    /// When the push began that it stands for.
    pub push: Option<Timestamp>,
    /// Why the next run must be a full one.
    pub full_run: Option<String>,
}

impl Receipt {
    /// One that stands for nothing: the client's next run must be a full one, and why.
    pub fn void(why: &str) -> Self {
        Self { schema: 1, id: None, push: None, full_run: Some(why.to_owned()) }
    }

    /// The receipt, as long as it stands for the last push: as soon as another one begins it is void.
    pub fn standing_for(&self, last: Option<&Push>) -> Option<&str> {
        let last = last.filter(|push| push.is_complete())?;
        self.id.as_deref().filter(|_| self.push == Some(last.started))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_void_as_soon_as_another_push_begins() {
        let first = Push { status: Some(0), ..Push::begin(Timestamp::UNIX_EPOCH, None, None) };
        let receipt =
            Receipt { schema: 1, id: Some("x".to_owned()), push: Some(first.started), full_run: None };
        assert_eq!(receipt.standing_for(Some(&first)), Some("x"));
        let later = Timestamp::from_second(1).unwrap();
        for other in [Push::begin(later, None, None), Push { started: later, ..first.clone() }] {
            assert_eq!(receipt.standing_for(Some(&other)), None);
        }
        assert_eq!(receipt.standing_for(Some(&Push { status: Some(23), ..first })), None);
        assert_eq!(receipt.standing_for(None), None);
    }
}
