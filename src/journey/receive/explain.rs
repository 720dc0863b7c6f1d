//! `--explain`: the verdict on `SSH_ORIGINAL_COMMAND` as JSON, with the command line that would be
//! run. Nothing is run or logged.

use std::ffi::OsString;

use anyhow::Result;
use serde::Serialize;

use super::command::Command;
use crate::journey::server::{self, Place};
use crate::model::{Grant, Status, escaped};
use crate::protocol::lexer::Refusal;
use crate::protocol::request::Request;
use crate::system::console;

#[derive(Serialize)]
struct Explanation<'a> {
    schema: u32,
    verdict: &'static str,
    client: &'a str,
    request: &'static str,
    reason: String,
    argv: Vec<String>,
}

/// Prints the explanation; status 0 for "allow", 3 for "refuse".
pub(super) fn print(grant: &Grant, request: &Result<Request, Refusal>, place: &Place) -> Result<Status> {
    let config = server::read_config(&place.config)?;
    let store = server::store_path(place)?;
    let words = |argv: Vec<OsString>| -> Vec<String> {
        let program = config.rsync.clone().into_os_string();
        std::iter::once(program).chain(argv).map(|word| escaped(word.as_encoded_bytes())).collect()
    };
    let (verdict, name, reason, argv, status) = match request {
        Ok(request) => {
            let argv = request
                .rsync()
                .map(|rsync| words(Command::print(rsync, &config, &store, &grant.client).argv))
                .unwrap_or_default();
            ("allow", request.name(), "the request is well formed".to_owned(), argv, Status::Done)
        }
        Err(refusal) => ("refuse", "unknown", refusal.to_string(), Vec::new(), Status::Refused),
    };
    let client = grant.client.as_str();
    let explanation = Explanation { schema: 1, verdict, client, request: name, reason, argv };
    console::print(serde_json::to_string(&explanation)?);
    Ok(status)
}
