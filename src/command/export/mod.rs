//! `mlflow export`: a session as Markdown, as one HTML file, or as JSON.

mod answer;
mod diff;
mod document;
mod facts;
mod file;
mod html;
mod markdown;
mod markdown_answer;
mod markdown_text;
mod mentions;
mod page;
mod plain;
mod source;
mod tool;

use super::CommandError;
use crate::base::notice;
use crate::base::world::World;
use crate::cli::{Export, ExportFormat};
use common::printable::clean;
use document::Document;
use mlflow_store::trace::Trace;

const FIGURES_ONLY: &str = "the export holds figures only, because settings or a folder ask for metadata";

pub(super) fn run(export: &Export, world: &World) -> Result<(), CommandError> {
    let context = super::context(world)?;
    let trace = source::find(&export.what, &context)?;
    if trace.is_metadata_only() {
        notice::print(&FIGURES_ONLY);
    }
    let text = text_of(&trace, export.format);
    match &export.output {
        None => super::print(&text),
        Some(path) => {
            file::write(path, text.as_bytes())?;
            super::print(&format!("{} is in {}\n", trace.id, clean(path.display())));
        }
    }
    Ok(())
}

fn text_of(trace: &Trace, format: ExportFormat) -> String {
    match format {
        // As `show --json` prints it.
        ExportFormat::Json => super::json_text(trace),
        ExportFormat::Html => page::render(&Document::from_trace(trace)),
        ExportFormat::Md => markdown::render(&Document::from_trace(trace)),
    }
}
