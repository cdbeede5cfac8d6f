//! Reads the world once, runs, and ends as Codex ended.

use codex_traced::base::world::World;

fn main() -> ! {
    codex_traced::run(&World::read()).end()
}
