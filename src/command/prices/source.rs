//! Where `prices --update` reads a catalogue: a file, a folder, or an address.

use crate::command::CommandError;
use crate::finish::context::Context;
use crate::finish::price_files::{SourceError, catalogue_at, prices_of};
use crate::trace::price_catalogue::{Catalogue, CatalogueFile, CataloguePrices};
use common::printable::masked_with_queries;
use jiff::Timestamp;
use mlflow_store::download;
use mlflow_store::exporter::Patience;
use std::path::Path;
use std::time::{Duration, Instant};

/// A catalogue has 0.4 MB at most, and a user waits.
const LIMIT: Duration = Duration::from_secs(60);

const HINT: &str = "\n  hint: name a file like mlflow/utils/model_catalog/openai.json, a folder of such files, or an http(s) address";

/// The prices that a user named.
pub(super) fn prices_at(source: &str, context: &Context) -> Result<CataloguePrices, CommandError> {
    // A query may hold a token.
    prices_in(source, context).map_err(|error| masked_with_queries(&error).into_owned())
}

fn prices_in(source: &str, context: &Context) -> Result<CataloguePrices, CommandError> {
    let catalogue = match Place::from_text(source)? {
        Place::Address(url) => fetched(url, context)?,
        Place::Path(path) => catalogue_at(Path::new(path)).map_err(explained)?,
    };
    prices_of(catalogue, source, Timestamp::now()).map_err(explained)
}

fn explained(error: SourceError) -> CommandError {
    format!("{error}; the prices stay as they are{HINT}")
}

#[derive(Debug, PartialEq)]
enum Place<'s> {
    Address(&'s str),
    Path(&'s str),
}

impl<'s> Place<'s> {
    fn from_text(source: &'s str) -> Result<Place<'s>, CommandError> {
        let Some((scheme, rest)) = source.split_once("://") else { return Ok(Place::Path(source)) };
        match &*scheme.to_ascii_lowercase() {
            "http" | "https" => Ok(Place::Address(source)),
            "file" => match rest.split_at(rest.find('/').unwrap_or(rest.len())) {
                ("" | "localhost", path) => Ok(Place::Path(path)),
                (host, _) => Err(format!(
                    "{source} names the host {host}, and a file address is one of this machine; the prices stay as they are{HINT}"
                )),
            },
            // A folder may have this name.
            _ if Path::new(source).exists() => Ok(Place::Path(source)),
            _ => Err(format!(
                "{source} is neither a file nor an http(s) address; the prices stay as they are{HINT}"
            )),
        }
    }
}

fn fetched(url: &str, context: &Context) -> Result<Catalogue, CommandError> {
    let until = Some(Instant::now() + LIMIT);
    let patience = Patience { until, is_asked_to_end: &|| false, retrying: &|_, _| {} };
    let text = download::fetch(url, &context.access().variables, patience)
        .map_err(|error| format!("{error}; the prices stay as they are{HINT}"))?;
    let mut catalogue = Catalogue::default();
    catalogue
        .add(CatalogueFile::from_name(file_name(url)), &text)
        .map_err(|error| explained(SourceError::Refused(url.to_owned(), error)))?;
    Ok(catalogue)
}

/// The last part of an address's path.
fn file_name(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_path_or_an_address() {
        let table = [
            ("openai.json", Some(Place::Path("openai.json"))),
            ("/a/b", Some(Place::Path("/a/b"))),
            ("file:///a/b", Some(Place::Path("/a/b"))),
            ("file://localhost/a/b", Some(Place::Path("/a/b"))),
            ("https://a/b", Some(Place::Address("https://a/b"))),
            ("HTTP://a/b", Some(Place::Address("HTTP://a/b"))),
            ("ftp://a/b", None),
            ("file://host/a/b", None),
            ("file://localhosts/a/b", None),
            ("file://a", None),
        ];
        for (text, expected) in table {
            assert_eq!(Place::from_text(text).ok(), expected, "{text}");
        }
        for (url, name) in
            [("https://a/b/azure.json?x=/y", "azure.json"), ("https://a/", ""), ("https://a/x#/y", "x")]
        {
            assert_eq!(file_name(url), name);
        }
    }
}
