//! Reads the world once, runs, and ends as Codex ended.

use codex_traced::app;
use codex_traced::env::World;

fn main() -> ! {
    app::run(&World::read()).end()
}
