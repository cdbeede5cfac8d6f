//! The user who runs Codex.

use crate::base::world::World;
use common::variables::Variables;
use nix::unistd::{Uid, User};

/// The name that Python's `getpass.getuser` finds: MLflow's clients (3.2 to 3.18) name the user so. A directory
/// service may take seconds to answer, so this is asked for after Codex's end only.
pub fn name(world: &World) -> Option<String> {
    let account = || User::from_uid(Uid::current()).ok().flatten().map(|user| user.name);
    by_variables(&world.variables).map(str::to_owned).or_else(account)
}

fn by_variables(variables: &Variables) -> Option<&str> {
    ["LOGNAME", "USER", "LNAME", "USERNAME"].into_iter().find_map(|name| variables.text(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_who_pythons_getpass_finds() {
        let table = [
            (vec![("USERNAME", "d"), ("LNAME", "c"), ("USER", "b"), ("LOGNAME", "a")], Some("a")),
            (vec![("USERNAME", "d"), ("LNAME", "c"), ("USER", "b")], Some("b")),
            (vec![("USERNAME", "d"), ("LNAME", "c"), ("USER", "")], Some("c")),
            (vec![("USERNAME", "d")], Some("d")),
            (vec![("LOGNAME", "")], None),
            (vec![], None),
        ];
        for (set, expected) in table {
            let variables = set.iter().map(|(name, value)| (name.to_string(), value.to_string()));
            assert_eq!(by_variables(&variables.collect()), expected, "{set:?}");
        }
        let account = User::from_uid(Uid::current()).unwrap().map(|user| user.name);
        assert_eq!(name(&World::default()), account);
    }
}
