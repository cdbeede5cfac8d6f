//! A stand-in for npm's registry: it has the packages of a folder, and no others.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha512};
use std::fs;
use std::path::Path;
use std::process::Command;
use support::{Answered, Asked, End, WebServer, run};

/// Runs until it is dropped.
pub(crate) struct Registry {
    server: WebServer,
}

impl Registry {
    /// Has what the `.tgz` files of this folder hold.
    pub(crate) fn of(folder: &Path) -> Registry {
        let folder = folder.to_owned();
        Registry { server: WebServer::start(|url| answers(&folder, url)) }
    }

    /// Where no package is ours; a test asserts that it was not asked.
    pub(crate) fn of_strangers() -> Registry {
        Registry { server: WebServer::start(|_| |_: &Asked| (404, b"{}".to_vec())) }
    }

    /// The paths that were asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.server.asked().into_iter().map(|asked| asked.path).collect()
    }

    /// npm or pnpm with this registry, and with no settings and no cache of this machine.
    pub(crate) fn client(&self, mut command: Command, folder: &Path) -> Command {
        command.env("npm_config_registry", self.server.url());
        command.env("npm_config_userconfig", folder.join("npmrc"));
        command.env("npm_config_cache", folder.join("cache"));
        for (name, value) in [("audit", "false"), ("fund", "false"), ("update_notifier", "false")] {
            command.env(format!("npm_config_{name}"), value);
        }
        command
    }
}

/// By path: what the registry says of a package, or the package itself.
fn answers(folder: &Path, url: &str) -> impl Fn(&Asked) -> Answered + use<> {
    let mut pages = Map::new();
    let mut files = Map::new();
    let entries = fs::read_dir(folder).expect("read the packages' folder").flatten();
    let packages =
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "tgz"));
    for path in packages {
        let mut tar = Command::new("tar");
        let manifest =
            run(tar.arg("-xzOf").arg(&path).arg("package/package.json")).ended(End::Code(0)).stdout;
        let mut manifest: Value = serde_json::from_str(&manifest).expect("package.json is JSON");
        let (name, version) = (manifest["name"].clone(), manifest["version"].clone());
        let (name, version) = (name.as_str().expect("a name"), version.as_str().expect("a version"));
        let file = format!("/{name}/-/{}", path.file_name().expect("a name").display());
        let digest = Sha512::digest(fs::read(&path).expect("read a package"));
        let integrity = format!("sha512-{}", BASE64_STANDARD.encode(digest));
        manifest["dist"] = json!({"tarball": format!("{url}{file}"), "integrity": integrity});
        let page = json!({"name": name, "dist-tags": {"latest": version}, "versions": {version: manifest}});
        pages.insert(format!("/{name}"), page);
        files.insert(file, json!(path));
    }
    move |asked| {
        if let Some(page) = pages.get(&asked.path) {
            (200, page.to_string().into_bytes())
        } else if let Some(path) = files.get(&asked.path).and_then(Value::as_str) {
            (200, fs::read(path).expect("read a package"))
        } else {
            (404, br#"{"error": "not found"}"#.to_vec())
        }
    }
}
