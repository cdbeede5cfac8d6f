//! The native program behind npm's launcher, started as the launcher would start it, but without Node.js: 30 to 130 ms sooner.
//!
//! Only for launchers whose text is known. Where an answer would need Node.js itself, there is none, and the launcher runs.

mod launcher_text;
mod package_manager;
mod pnpm_shim;

use super::locate::is_script;
use crate::base::world::World;
use common::disk::read_head;
use launcher_text::Generation;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use package_manager::{ALL_VARIABLES, PackageManager};
use pnpm_shim::PnpmShim;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

/// `0`: npm's launcher starts the native program, by Node.js.
const SWITCH: &str = "CODEX_TRACED_DIRECT";

/// With these Node.js does more than run the launcher, finds files elsewhere, or changes the variable.
const CHANGE_NODE: [&str; 6] = [
    "NODE_OPTIONS",
    "NODE_CHANNEL_FD",
    "NODE_PRESERVE_SYMLINKS",
    "NODE_PRESERVE_SYMLINKS_MAIN",
    "NODE_UNIQUE_ID",
    "NODE_V8_COVERAGE",
];

/// The largest launcher has 10 KB.
const LARGEST: u64 = 64 << 10;

/// How ELF and Mach-O programs begin.
const PROGRAMS: [[u8; 4]; 3] = [*b"\x7fELF", [0xcf, 0xfa, 0xed, 0xfe], [0xca, 0xfe, 0xba, 0xbe]];

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
        let file = world.cwd.as_deref()?.join(file);
        // Most often it is the native program already.
        if !is_script(&read_head(&file, 2).ok()?) {
            return None;
        }
        let called = Called::new(&file)?;
        let (launcher, called, shim) = match Launcher::read(&called) {
            Some(launcher) => (launcher, called, None),
            None => {
                let shim = PnpmShim::read(&called.path)?;
                let called = Called::new(&shim.script)?;
                (Launcher::read(&called)?, called, Some(shim))
            }
        };
        let folder = shim.as_ref().map(|shim| shim.folder.as_path());
        let is_plain = passes_unchanged(world) && streams_block() && runs_by_node(folder, world);
        if !is_plain || (shim.is_some() && !pnpm_shim::keeps_environment(world)) {
            return None;
        }
        let node_path = shim.map(|shim| shim.with_earlier(variables.text("NODE_PATH").unwrap_or_default()));
        launcher.start(&called, world, node_path.map(|path| ("NODE_PATH", path)))
    }
}

/// A path by which a launcher is called. Node.js removes `..` without regard to links; where that names another file than
/// the kernel finds, it is none.
struct Called {
    path: PathBuf,
    file: PathBuf,
}

impl Called {
    fn new(path: &Path) -> Option<Called> {
        let lexical = lexically(path);
        let file = fs::canonicalize(path).ok()?;
        let is_same = lexical == path || fs::canonicalize(&lexical).ok()? == file;
        is_same.then_some(Called { path: lexical, file })
    }
}

/// npm's launcher in its package.
struct Launcher {
    generation: Generation,
    /// The package's folder, without links.
    root: PathBuf,
}

impl Launcher {
    fn read(Called { file, .. }: &Called) -> Option<Launcher> {
        if !file.ends_with("bin/codex.js") || fs::metadata(file).ok()?.len() > LARGEST {
            return None;
        }
        let generation = Generation::of_text(&fs::read(file).ok()?)?;
        Some(Launcher { generation, root: file.parent()?.parent()?.to_path_buf() })
    }

    fn start(
        &self,
        called: &Called,
        world: &World,
        added: Option<(&'static str, OsString)>,
    ) -> Option<DirectStart> {
        let mut added: Vec<_> = added.into_iter().collect();
        let (package, target) = platform()?;
        let target = platform_package(&self.root.join("bin"), package)?.join("vendor").join(target);
        let programs =
            self.generation.layouts().iter().map(|(program, before)| (target.join(program), *before));
        let (program, before_path) = programs.into_iter().find(|(program, _)| program.exists())?;
        if !is_program(&program) {
            return None;
        }
        let manager =
            PackageManager::detect(self.generation, &self.root, &called.path, &world.variables).ok()?;
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

/// Whether Node.js passes on arguments and variables as they are. It replaces what is no Unicode, and drops names that
/// are empty or come twice. macOS removes `DYLD_…` for what `env` and `sh` start.
fn passes_unchanged(world: &World) -> bool {
    let variables = &world.variables;
    let is_odd = |name: &OsStr| {
        let name = name.as_encoded_bytes();
        name.is_empty() || name.starts_with(b"=") || name.starts_with(b"DYLD_")
    };
    world.args.iter().all(|arg| arg.to_str().is_some())
        && variables.are_text()
        && !variables.names().any(is_odd)
        && variables.names().count() == std::env::vars_os().count()
}

/// Node.js makes streams wait that do not; some versions only.
fn streams_block() -> bool {
    let blocks = |stream: BorrowedFd| {
        fcntl(stream, FcntlArg::F_GETFL).is_ok_and(|flags| flags & OFlag::O_NONBLOCK.bits() == 0)
    };
    // A closed stream becomes /dev/null.
    [io::stdin().as_fd(), io::stdout().as_fd(), io::stderr().as_fd()].into_iter().all(blocks)
}

/// Whether `node` is Node.js itself, or missing. A script or a version manager in its place may change the environment.
/// `first`: where pnpm's script looks before PATH.
fn runs_by_node(first: Option<&Path>, world: &World) -> bool {
    let beside = first.map(|folder| folder.join("node")).filter(|node| node.exists());
    let path = world.variables.os("PATH").unwrap_or_default();
    let here = world.cwd.as_deref().unwrap_or(Path::new("/"));
    let Some(node) = beside.or_else(|| which::which_in("node", Some(path), here).ok()) else { return true };
    let Ok(node) = fs::canonicalize(node) else { return false };
    let is_named = node.file_name().is_some_and(|name| name == "node" || name == "nodejs");
    let mut magic = [0; 4];
    let read = File::open(&node).and_then(|mut file| file.read_exact(&mut magic));
    is_named && read.is_ok() && PROGRAMS.contains(&magic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_path_that_node_takes_for_another_file_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["home/bin", "opt/v2", "opt/bin"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        for name in ["home/bin/codex", "opt/bin/codex"] {
            fs::write(at(name), name).unwrap();
        }
        symlink(at("opt/v2"), at("home/current")).unwrap();
        symlink(at("home/bin/codex"), at("home/link")).unwrap();
        let called = |name: &str| Called::new(&at(name)).map(|called| called.path);
        assert_eq!(called("home/./x/../bin/codex"), None, "the kernel finds no x");
        assert_eq!(called("home/bin/../bin/./codex"), Some(at("home/bin/codex")));
        assert_eq!(called("home/link"), Some(at("home/link")));
        assert_eq!(called("home/current/../bin/codex"), None, "opt/bin/codex for the kernel");
    }

    #[test]
    fn a_package_is_looked_for_as_node_does_it() {
        let folder = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(folder.path()).unwrap();
        let from = base.join("node_modules/@openai/codex/bin");
        fs::create_dir_all(&from).unwrap();
        let found = || platform_package(&from, "@openai/codex-linux-x64");
        assert_eq!(found(), None);
        let places =
            ["node_modules/node_modules", "node_modules", "node_modules/@openai/codex/bin/node_modules"];
        for (place, counts) in places.into_iter().zip([false, true, true]) {
            let package = base.join(place).join("@openai/codex-linux-x64");
            fs::create_dir_all(&package).unwrap();
            let before = found();
            fs::write(package.join("package.json"), "{}").unwrap();
            assert_eq!(found(), if counts { Some(package) } else { before }, "{place}");
        }
    }
}
