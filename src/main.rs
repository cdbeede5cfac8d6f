//! Reads the world once, runs, and ends as Codex ended.

use codex_traced::app;
use codex_traced::base::world::World;

fn main() -> ! {
    app::run(&World::read()).end()
}
