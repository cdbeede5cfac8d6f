//! The native program behind npm's launcher, started as the launcher would start it, but without Node.js: 130 ms sooner.
//!
//! Only for launchers whose text is known. Where an answer would need Node.js itself, there is none, and the launcher runs.

mod launcher_text;
mod package_manager;
mod pnpm_shim;

use crate::base::world::World;
use launcher_text::Generation;
use package_manager::{ALL_VARIABLES, PackageManager};
use pnpm_shim::PnpmShim;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

/// `0`: npm's launcher starts the native program, by Node.js.
const SWITCH: &str = "CODEX_TRACED_DIRECT";

/// With these Node.js does more than run the launcher, or finds files elsewhere.
const CHANGE_NODE: [&str; 4] =
    ["NODE_OPTIONS", "NODE_CHANNEL_FD", "NODE_PRESERVE_SYMLINKS", "NODE_PRESERVE_SYMLINKS_MAIN"];

/// The largest launcher has 10 KB.
const LARGEST: u64 = 64 << 10;

const ROOT: &str = "CODEX_MANAGED_PACKAGE_ROOT";

/// The native program, and how the launcher changes the environment for it.
#[derive(Debug, PartialEq, Eq)]
pub struct DirectStart {
    pub program: PathBuf,
    pub added: Vec<(&'static str, OsString)>,
    pub removed: Vec<&'static str>,
}

impl DirectStart {
    /// None where `file`, the `codex` that was found, is to be started itself.
    pub fn find(file: &Path, world: &World) -> Option<DirectStart> {
        let variables = &world.variables;
        let is_off = variables.text(SWITCH) == Some("0");
        if is_off || CHANGE_NODE.iter().any(|name| variables.os(name).is_some()) {
            return None;
        }
        // Node.js would replace what is not Unicode.
        let is_text = world.args.iter().all(|arg| arg.to_str().is_some()) && variables.are_text();
        let called = lexically(&world.cwd.as_deref()?.join(file));
        if !is_text {
            return None;
        }
        let mut added = Vec::new();
        let script = match Launcher::read(&called) {
            Some(launcher) => return launcher.start(&called, world, added),
            None => PnpmShim::read(&called).filter(|_| is_kept_by_shells(world))?,
        };
        added.push(("NODE_PATH", script.with_earlier(variables.text("NODE_PATH").unwrap_or_default())));
        let called = lexically(&script.script);
        Launcher::read(&called)?.start(&called, world, added)
    }
}

/// npm's launcher in its package.
struct Launcher {
    generation: Generation,
    /// The package's folder, without links.
    root: PathBuf,
}

impl Launcher {
    fn read(called: &Path) -> Option<Launcher> {
        let file = fs::canonicalize(called).ok()?;
        if !file.ends_with("bin/codex.js") || fs::metadata(&file).ok()?.len() > LARGEST {
            return None;
        }
        let generation = Generation::of_text(&fs::read(&file).ok()?)?;
        Some(Launcher { generation, root: file.parent()?.parent()?.to_path_buf() })
    }

    /// `called`: the path by which Node.js gets the launcher.
    fn start(
        &self,
        called: &Path,
        world: &World,
        mut added: Vec<(&'static str, OsString)>,
    ) -> Option<DirectStart> {
        let (package, target) = platform()?;
        let target = platform_package(&self.root.join("bin"), package)?.join("vendor").join(target);
        let (program, before_path) =
            self.generation.layouts().iter().find_map(|(program, before_path)| {
                Some((target.join(program), *before_path)).filter(|(program, _)| is_program(program))
            })?;
        let manager = PackageManager::detect(self.generation, &self.root, called, &world.variables).ok()?;
        if let Some(folder) = before_path {
            let path =
                world.variables.text("PATH").unwrap_or_default().split(':').filter(|one| !one.is_empty());
            let folder = Some(target.join(folder)).filter(|folder| folder.exists());
            let folder = folder.map(|folder| folder.into_os_string().into_string()).transpose().ok()?;
            let all: Vec<&str> = folder.as_deref().into_iter().chain(path).collect();
            added.push(("PATH", all.join(":").into()));
        }
        if self.generation.names_root() {
            added.push((ROOT, self.root.clone().into()));
        }
        added.push((manager.variable(), "1".into()));
        let is_removed = |name: &&&str| match **name {
            "CODEX_MANAGED_BY_VITE_PLUS" => self.generation.knows_vite_plus(),
            _ => self.generation.knows_pnpm(),
        };
        let removed = ALL_VARIABLES.iter().filter(is_removed).filter(|name| **name != manager.variable());
        Some(DirectStart { program, added, removed: removed.copied().collect() })
    }
}

/// The package and the target of this system, as the launcher names them.
fn platform() -> Option<(&'static str, &'static str)> {
    Some(match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => ("@openai/codex-linux-x64", "x86_64-unknown-linux-musl"),
        ("linux", "aarch64") => ("@openai/codex-linux-arm64", "aarch64-unknown-linux-musl"),
        ("macos", "x86_64") => ("@openai/codex-darwin-x64", "x86_64-apple-darwin"),
        ("macos", "aarch64") => ("@openai/codex-darwin-arm64", "aarch64-apple-darwin"),
        _ => return None,
    })
}

/// The package's folder, without links, by Node.js's rules for `require.resolve`. Node.js looks in further places when
/// the package is in none of these.
fn platform_package(from: &Path, package: &str) -> Option<PathBuf> {
    let folders = from.ancestors().filter(|folder| folder.file_name() != Some(OsStr::new("node_modules")));
    let found = folders.map(|folder| folder.join("node_modules").join(package).join("package.json"));
    let found = found.into_iter().find(|file| file.is_file())?;
    Some(fs::canonicalize(found).ok()?.parent()?.to_path_buf())
}

fn is_program(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Without `.` and `..`, as Node.js's `path.resolve` does it: links are not followed.
fn lexically(path: &Path) -> PathBuf {
    let mut whole = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                whole.pop();
            }
            other => whole.push(other),
        }
    }
    whole
}

/// Whether /bin/sh passes on the environment unchanged: it sets PWD, and drops names that are no identifiers. Within
/// Windows, pnpm's script may start Windows' Node.js.
fn is_kept_by_shells(world: &World) -> bool {
    let is_identifier = |name: &str| {
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && !name.bytes().next().is_none_or(|first| first.is_ascii_digit())
    };
    world.variables.names().all(|name| name.to_str().is_some_and(is_identifier))
        && world.variables.os("PWD") == world.cwd.as_deref().map(Path::as_os_str)
        && !world.is_wsl()
}
