//! Check of the credentials for the target.

use super::Finding;
use crate::base::world::World;
use mlflow_store::target::Target;
use mlflow_store::target::access::Access;

/// Lists which credentials are set, never their values.
pub(super) fn check(target: &Target, access: &Access, world: &World) -> Finding {
    let variables = access.variables_for(target);
    let set = |name: &str| variables.os(name).is_some();
    let file = |name: &str| world.home.as_ref().map(|home| home.join(name)).filter(|path| path.exists());
    let present: Vec<String> = match target {
        Target::Sqlite(_) | Target::FileStore(_) => {
            return Finding::ok("credentials", "none needed for a local target");
        }
        Target::Http(_) => {
            let both = set("MLFLOW_TRACKING_USERNAME") && set("MLFLOW_TRACKING_PASSWORD");
            let token = set("MLFLOW_TRACKING_TOKEN");
            [
                both.then(|| "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD".to_owned()),
                token.then(|| "MLFLOW_TRACKING_TOKEN".to_owned()),
                access.credentials_in_address(target).map(|_| "those in the tracking URI".to_owned()),
                file(".mlflow/credentials").map(|path| path.display().to_string()),
            ]
            .into_iter()
            .flatten()
            .collect()
        }
        Target::Databricks { .. } => ["DATABRICKS_TOKEN", "DATABRICKS_CLIENT_ID"]
            .into_iter()
            .filter(|name| set(name))
            .map(str::to_owned)
            .chain(file(".databrickscfg").map(|path| path.display().to_string()))
            .collect(),
    };
    match (present.is_empty(), target) {
        (true, Target::Databricks { .. }) => Finding::error(
            "credentials",
            "none for Databricks",
            "set DATABRICKS_HOST and DATABRICKS_TOKEN, or write a profile into ~/.databrickscfg",
        ),
        (true, _) => Finding::ok("credentials", "none set; a server without a login needs none"),
        (false, _) => Finding::ok("credentials", format!("present: {}", present.join(", "))),
    }
}
