//! PublishVersion and ListVersionsByFunction.

use super::functions::{listed, publish_to, shown};
use super::pages::{marker, next_marker, page_size};
use super::settings::text;
use super::{Request, catalog_error, function_ref};
use lamplight_rpc::Publication;
use lamplight_wire::{ApiError, Output};
use serde_json::{Map, Value, json};

pub async fn publish(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = function_ref(request)?;
    let publication = Publication {
        description: text(request.input, "Description"),
        code_sha256: text(request.input, "CodeSha256"),
        revision_id: text(request.input, "RevisionId"),
        to: publish_to(request.input),
    };
    let published = request.parts.catalog.publish(&function, publication).await;
    let published = published.map_err(catalog_error)?;
    Ok(shown(request, &published, Some(&published.version())))
}

pub async fn list(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = function_ref(request)?;
    let after = marker(request)?.map(|(_, version)| version);
    let page = request.parts.catalog.versions(&function.function, after, page_size(request));
    let page = page.map_err(catalog_error)?;
    let shown = page
        .functions
        .iter()
        .map(|record| Value::Object(listed(request, record, Some(&record.version()))));
    let mut members = Map::new();
    members.insert("Versions".to_owned(), shown.collect());
    if let Some(next) = page.next {
        members.insert("NextMarker".to_owned(), json!(next_marker(&next)));
    }
    Ok(Output { members, ..Output::default() })
}
