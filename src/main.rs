//! Reads the world once, runs, and ends as Codex ended.

use codex_traced::base::world::World;

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ! {
    codex_traced::run(&World::read()).end()
}
