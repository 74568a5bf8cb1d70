//! Names of images: `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]`. Pure.

use std::net::Ipv4Addr;

/// A name taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    /// With the port where there is one.
    pub registry: String,
    pub repository: String,
    /// A tag or a digest.
    pub reference: String,
}

impl Name {
    /// `None` for what is no name of an image in a registry.
    pub fn parse(text: &str) -> Option<Self> {
        let (registry, rest) = text.split_once('/')?;
        // AWS: images always name their registry; so nobody gets one from where he did not mean.
        if !registry.contains(['.', ':']) && registry != "localhost" {
            return None;
        }
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (rest, None),
        };
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        let reference = digest.or(tag).unwrap_or("latest");
        let plain = |text: &str, more: &[u8]| {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || more.contains(&byte);
            !text.is_empty() && text.len() <= 255 && text.bytes().all(known)
        };
        let climbs = repository.split('/').any(|part| matches!(part, "" | "." | ".."));
        let sound = plain(registry, b".-:[]") && plain(repository, b"._-/") && !climbs;
        (sound && plain(reference, b"._-:")).then(|| Self {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            reference: reference.to_owned(),
        })
    }

    /// AWS: what ResolvedImageUri shows.
    pub fn resolved(&self, digest: &str) -> String {
        format!("{}/{}@{digest}", self.registry, self.repository)
    }

    /// Of a path of the registry's API below the repository. Registries on this machine speak
    /// plain HTTP.
    pub fn address(&self, path: &str) -> String {
        let host = self.registry.rsplit_once(':').map_or(self.registry.as_str(), |(host, _)| host);
        // Not by how it begins: `127.example` may be anybody's.
        let here = host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback());
        let here = here || matches!(host, "localhost" | "[::1]");
        let scheme = if here { "http" } else { "https" };
        format!("{scheme}://{}/v2/{}/{path}", self.registry, self.repository)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_apart() {
        let parts = |text: &str| Name::parse(text).map(|n| (n.registry, n.repository, n.reference));
        let name = |a: &str, b: &str, c: &str| Some((a.to_owned(), b.to_owned(), c.to_owned()));
        assert_eq!(parts("r.example/app"), name("r.example", "app", "latest"));
        assert_eq!(parts("127.0.0.1:5000/a/b:1"), name("127.0.0.1:5000", "a/b", "1"));
        assert_eq!(parts("r.example/a:1@sha256:00"), name("r.example", "a", "sha256:00"));
        for wrong in
            ["", "app", "library/app", "r.example/", "r.example/../x", "r.example/a b", "r.ex/a?b"]
        {
            assert_eq!(parts(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_registries_of_this_machine_go_without_tls() {
        let address = |text: &str| Name::parse(text).unwrap().address("tags");
        assert_eq!(address("127.0.0.1:5000/a"), "http://127.0.0.1:5000/v2/a/tags");
        assert_eq!(address("localhost:5000/a"), "http://localhost:5000/v2/a/tags");
        assert_eq!(address("127.example/a"), "https://127.example/v2/a/tags");
        assert_eq!(address("localhost.example/a"), "https://localhost.example/v2/a/tags");
    }
}
