//! CreateAlias, GetAlias, UpdateAlias, DeleteAlias, ListAliases.

use super::pages::{marker, next_marker, page_size};
use super::settings::text;
use super::{Request, catalog_error, function_ref};
use lamplight_model::{AliasRecord, FunctionArn, Qualifier};
use lamplight_rpc::AliasChange;
use lamplight_wire::{ApiError, Output};
use serde_json::{Map, Value, json};

pub async fn create(request: &Request<'_>) -> Result<Output, ApiError> {
    let (function, name) = named(request)?;
    let created = request.parts.catalog.create_alias(&function, &name, change(request)).await;
    Ok(shown(&function, &*created.map_err(catalog_error)?))
}

pub async fn get(request: &Request<'_>) -> Result<Output, ApiError> {
    let (function, name) = named(request)?;
    let alias = request.parts.catalog.alias(&function, &name).map_err(catalog_error)?;
    Ok(shown(&function, &alias))
}

pub async fn update(request: &Request<'_>) -> Result<Output, ApiError> {
    let (function, name) = named(request)?;
    let updated = request.parts.catalog.update_alias(&function, &name, change(request)).await;
    Ok(shown(&function, &*updated.map_err(catalog_error)?))
}

pub async fn delete(request: &Request<'_>) -> Result<Output, ApiError> {
    let (function, name) = named(request)?;
    request.parts.catalog.delete_alias(&function, &name).await.map_err(catalog_error)?;
    Ok(Output::empty())
}

pub async fn list(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = function_ref(request)?.function;
    let after = marker(request)?.map(|(name, _)| name);
    let all = request.parts.catalog.aliases(&function, after.as_deref()).map_err(catalog_error)?;
    let version = text(request.input, "FunctionVersion").map(|version| Qualifier::parse(&version));
    let wanted = |alias: &AliasRecord| match &version {
        None => true,
        Some(Qualifier::Version(number)) => alias.uses(*number),
        Some(other) => alias.points_at() == *other,
    };
    let mut rest = all.iter().filter(|alias| wanted(alias)).peekable();
    let page: Vec<&AliasRecord> =
        rest.by_ref().take(page_size(request)).map(|alias| &**alias).collect();
    let mut output = Map::new();
    if rest.peek().is_some()
        && let Some(last) = page.last()
    {
        output.insert("NextMarker".to_owned(), json!(next_marker(&(last.name.clone(), 0))));
    }
    let page = page.into_iter().map(|alias| Value::Object(members(&function, alias)));
    output.insert("Aliases".to_owned(), page.collect());
    Ok(Output { members: output, ..Output::default() })
}

fn named(request: &Request<'_>) -> Result<(FunctionArn, String), ApiError> {
    let name = text(request.input, "Name").unwrap_or_default();
    Ok((function_ref(request)?.function, name))
}

fn change(request: &Request<'_>) -> AliasChange {
    let input = request.input;
    // AWS: a routing configuration without weights takes the old weights away.
    let weights = input.get("RoutingConfig").filter(|routing| !routing.is_null()).map(|routing| {
        let weights = routing.get("AdditionalVersionWeights").and_then(Value::as_object);
        let weight = |(version, weight): (&String, &Value)| // A number that is too large is none that was ever published.
            Some((version.parse().unwrap_or(u64::MAX), weight.as_f64()?));
        weights.into_iter().flatten().filter_map(weight).collect()
    });
    AliasChange {
        version: text(input, "FunctionVersion").map(|version| Qualifier::parse(&version)),
        description: text(input, "Description"),
        weights,
        revision_id: text(input, "RevisionId"),
    }
}

fn shown(function: &FunctionArn, alias: &AliasRecord) -> Output {
    Output { members: members(function, alias), ..Output::default() }
}

fn members(function: &FunctionArn, alias: &AliasRecord) -> Map<String, Value> {
    let mut members = Map::new();
    let mut set = |name: &str, value: Value| members.insert(name.to_owned(), value);
    set("AliasArn", json!(function.qualified(&Qualifier::Alias(alias.name.clone()))));
    set("Name", json!(alias.name));
    set("FunctionVersion", json!(alias.points_at().to_string()));
    set("Description", json!(alias.description));
    set("RevisionId", json!(alias.revision_id));
    if let Some((version, weight)) = alias.extra {
        let weights = json!({ version.to_string(): weight });
        set("RoutingConfig", json!({ "AdditionalVersionWeights": weights }));
    }
    members
}
