//! What registries say about images: indexes, manifests and configurations, in the words of OCI
//! and of Docker. Pure.

use lamplight_model::ImageConfig;
use serde::Deserialize;

/// What a request for a manifest accepts.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: String,
    pub size: u64,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

/// An index has `manifests`, a manifest the rest.
#[derive(Deserialize)]
pub(super) struct Manifest {
    manifests: Option<Vec<Descriptor>>,
    pub config: Option<Descriptor>,
    #[serde(default)]
    pub layers: Vec<Descriptor>,
}

impl Manifest {
    pub fn is_index(&self) -> bool {
        self.manifests.is_some()
    }

    /// The digest of an index's image for an architecture of Lambda's.
    pub fn pick(&self, architecture: &str) -> Option<&str> {
        let wanted = if architecture == "arm64" { "arm64" } else { "amd64" };
        let fits = |platform: &Platform| platform.os == "linux" && platform.architecture == wanted;
        let all = self.manifests.iter().flatten();
        all.filter(|one| one.platform.as_ref().is_some_and(fits))
            .map(|one| one.digest.as_str())
            .next()
    }
}

impl Descriptor {
    /// Whether the layer is compressed; `None` where it is no layer that can be read.
    pub fn gzip(&self) -> Option<bool> {
        let kind = self.media_type.as_str();
        match kind.contains("layer") || kind.contains("rootfs.diff") {
            true if kind.ends_with("gzip") => Some(true),
            true if kind.ends_with(".tar") => Some(false),
            _ => None,
        }
    }
}

/// The configuration of an image, as far as it is about its start.
pub(super) fn config(json: &[u8]) -> Option<ImageConfig> {
    #[derive(Deserialize)]
    struct Whole {
        config: Option<Inner>,
    }
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase", default)]
    struct Inner {
        entrypoint: Option<Vec<String>>,
        cmd: Option<Vec<String>>,
        env: Option<Vec<String>>,
        working_dir: Option<String>,
    }
    let inner = serde_json::from_slice::<Whole>(json).ok()?.config.unwrap_or_default();
    Some(ImageConfig {
        entry_point: inner.entrypoint.unwrap_or_default(),
        command: inner.cmd.unwrap_or_default(),
        environment: inner.env.unwrap_or_default(),
        working_directory: inner.working_dir.unwrap_or_default(),
    })
}
