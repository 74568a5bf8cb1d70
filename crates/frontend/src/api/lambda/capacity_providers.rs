//! Capacity providers: stored and shown. There are no instances to manage: the capacity is this
//! machine's, so a provider is active at once, and a function that names one runs like any other.

use super::documents::{self, CAPACITY, Whose};
use super::settings::text;
use super::{configuration, keep_given, pages, tags};
use crate::api::Request;
use lamplight_model::{FunctionArn, FunctionRecord};
use lamplight_rpc::{Document, DocumentKey, Listing};
use lamplight_wire::{ApiError, Output};
use serde_json::{Map, Value, json};

const SETTINGS: [&str; 7] = [
    "VpcConfig",
    "PermissionsConfig",
    "InstanceRequirements",
    "CapacityProviderScalingConfig",
    "KmsKeyArn",
    "PropagateTags",
    "TelemetryConfig",
];
/// Functions that are looked through at a time.
const BATCH: usize = 1_000;

pub async fn create(request: &Request<'_>) -> Result<Output, ApiError> {
    let (key, arn) = named(request)?;
    let mut config = json!({
        "CapacityProviderArn": arn,
        "State": "Active",
        "LastModified": now(request),
        // Required in every answer, also where it is empty.
        "VpcConfig": request.input.get("VpcConfig"),
    });
    keep_given(&mut config, request.input, &SETTINGS);
    let body = json!({ "config": config, "tags": tags::given(request.input)? });
    let created = documents::change(request, &key, |found| match found {
        None => Ok(body.clone()),
        Some(_) => Err(ApiError::new(
            "ResourceConflictException",
            format!("Capacity provider already exists: {arn}"),
        )),
    });
    shown(&created.await?)
}

pub fn get(request: &Request<'_>) -> Result<Output, ApiError> {
    let (key, arn) = named(request)?;
    shown(&documents::get(request, &key).ok_or_else(|| missing(&arn))?)
}

pub async fn update(request: &Request<'_>) -> Result<Output, ApiError> {
    let (key, arn) = named(request)?;
    let updated = documents::change(request, &key, |found| {
        let mut body = found.ok_or_else(|| missing(&arn))?.clone();
        keep_given(&mut body["config"], request.input, &SETTINGS);
        body["config"]["LastModified"] = json!(now(request));
        Ok(body)
    });
    shown(&updated.await?)
}

pub async fn delete(request: &Request<'_>) -> Result<Output, ApiError> {
    let (key, arn) = named(request)?;
    let found = documents::get(request, &key).ok_or_else(|| missing(&arn))?;
    if !users(request, &arn, (None, 1)).0.is_empty() {
        return Err(ApiError::new(
            "ResourceConflictException",
            format!("The capacity provider {arn} is in use by function versions."),
        ));
    }
    documents::delete(request, &key).await?;
    let mut config = found.body["config"].clone();
    config["State"] = json!("Deleting");
    Output::of(json!({ "CapacityProvider": config }))
}

pub fn list(request: &Request<'_>) -> Result<Output, ApiError> {
    let state = text(request.input, "State");
    documents::page(request, (CAPACITY, Whose::All), "CapacityProviders", |provider| {
        let config = provider.body.get("config")?;
        state.as_ref().is_none_or(|state| config["State"] == **state).then(|| config.clone())
    })
}

pub fn list_function_versions(request: &Request<'_>) -> Result<Output, ApiError> {
    let (key, arn) = named(request)?;
    documents::get(request, &key).ok_or_else(|| missing(&arn))?;
    let after = pages::marker(request)?;
    let (versions, next) = users(request, &arn, (after, pages::page_size(request)));
    let mut members = Map::new();
    members.insert("CapacityProviderArn".to_owned(), json!(arn));
    members.insert("FunctionVersions".to_owned(), Value::Array(versions));
    if let Some(next) = next {
        members.insert("NextMarker".to_owned(), json!(pages::next_marker(&next)));
    }
    Ok(Output { members, ..Output::default() })
}

type Place = (String, u64);

/// At most `max` versions that run on the provider, and where to go on.
fn users(
    request: &Request<'_>,
    provider: &str,
    (mut after, max): (Option<Place>, usize),
) -> (Vec<Value>, Option<Place>) {
    let mut users = Vec::new();
    loop {
        let listing = Listing {
            after: after.as_ref().map(|(name, version)| (name.as_str(), *version)),
            max: BATCH,
            versions: true,
        };
        let page = request.parts.catalog.list(request.scope, listing);
        for record in page.functions.iter().filter(|record| uses(record, provider)) {
            if users.len() == max {
                return (users, after);
            }
            let number = record.published.as_ref().map_or(0, |published| published.number);
            after = Some((record.name.clone(), number));
            users.push(json!({
                "FunctionArn":
                    FunctionArn::new(request.scope, &record.name).qualified(&record.version()),
                "State": configuration::state(record),
            }));
        }
        if page.next.is_none() {
            return (users, None);
        }
        after = page.next;
    }
}

fn uses(record: &FunctionRecord, provider: &str) -> bool {
    let config = record.settings.echoed.get("CapacityProviderConfig");
    config.is_some_and(|config| {
        config["LambdaManagedInstancesCapacityProviderConfig"]["CapacityProviderArn"] == provider
    })
}

/// The key and the ARN of the provider that a request names, by its name or its ARN.
fn named(request: &Request<'_>) -> Result<(DocumentKey, String), ApiError> {
    let scope = request.scope;
    let given = text(request.input, "CapacityProviderName").unwrap_or_default();
    let name = given.rsplit(':').next().unwrap_or_default();
    let arn = format!("arn:aws:lambda:{}:{}:capacity-provider:{name}", scope.region, scope.account);
    // One of another region or account.
    if given != name && given != arn {
        return Err(missing(&given));
    }
    Ok((DocumentKey::only(CAPACITY, scope, name), arn))
}

fn missing(arn: &str) -> ApiError {
    ApiError::new("ResourceNotFoundException", format!("Capacity provider not found: {arn}"))
}

fn shown(provider: &Document) -> Result<Output, ApiError> {
    Output::of(json!({ "CapacityProvider": provider.body["config"] }))
}

fn now(request: &Request<'_>) -> String {
    configuration::last_modified(request.parts.env.clock.now().millis())
}
