//! Three ways to log in, and what happens when one fails.

use super::made::{Delivery, assert_no_secret, id, spans, trace};
use common::variables::Variables;
use mlflow_store::exporter::ExportError;
use mlflow_store::target::Target;
use mlflow_store::target::access::Access;
use support::Databricks;
use support::databricks::{CLIENT_ID, CLIENT_SECRET, Rules, TOKEN};

/// The token endpoint is asked how often.
fn grants(databricks: &Databricks) -> usize {
    databricks.exchanges().iter().filter(|asked| asked.path == "/oidc/v1/token").count()
}

fn refusals(databricks: &Databricks) -> usize {
    databricks.exchanges().iter().filter(|asked| asked.status == 401).count()
}

#[test]
fn every_way_to_log_in_brings_the_trace_there() {
    for way in ["token", "our file", "robot", "default profile", "named profile", "robot's profile"] {
        let databricks = Databricks::start(Rules::default());
        let host = databricks.host();
        let home = tempfile::tempdir().expect("make a temporary folder");
        let file = format!(
            "[DEFAULT]\nhost = {host}/\ntoken = {TOKEN}\n\n[work]\nhost = {host}\ntoken = {TOKEN}\n\n\
             [robot]\nhost = {host}\nclient_id = {CLIENT_ID}\nclient_secret = {CLIENT_SECRET}\n"
        );
        std::fs::write(home.path().join(".databrickscfg"), file).expect("write a configuration");
        let in_file = Access {
            variables: Variables::default(),
            home: Some(home.path().to_owned()),
            ..Access::default()
        };
        let delivery = match way {
            "token" => Delivery::to(&databricks),
            "our file" => {
                let variables = [("DATABRICKS_HOST", host), ("DATABRICKS_TOKEN", TOKEN)].into();
                let file = Some((vec![Target::Databricks { profile: None }], variables));
                Delivery { access: Access { file, ..Access::default() }, ..Delivery::with([]) }
            }
            "robot" => Delivery::with([
                ("DATABRICKS_HOST", host),
                ("DATABRICKS_CLIENT_ID", CLIENT_ID),
                ("DATABRICKS_CLIENT_SECRET", CLIENT_SECRET),
            ]),
            "default profile" => Delivery { access: in_file, ..Delivery::with([]) },
            "named profile" => Delivery { access: in_file, profile: Some("work"), ..Delivery::with([]) },
            _ => Delivery {
                access: Access { variables: [("DATABRICKS_CONFIG_PROFILE", "robot")].into(), ..in_file },
                ..Delivery::with([])
            },
        };
        let delivered = delivery.of(&trace()).unwrap_or_else(|error| panic!("{way}: {error}"));
        assert_eq!((delivered.spans_sent, spans(&databricks, &trace())), (3, 3), "{way}");
        assert_eq!(databricks.traces(), [id(&trace())], "{way}");
        assert_eq!(grants(&databricks), usize::from(way.starts_with("robot")), "{way}");
        let asked = databricks.exchanges();
        let api = asked.iter().filter(|asked| asked.path.starts_with("/api/"));
        assert!(api.clone().count() >= 4, "{way}");
        assert!(api.clone().all(|asked| asked.headers["x-databricks-org-id"] == "12345"), "{way}");
        let mut storage = asked.iter().filter(|asked| asked.is_to_storage());
        assert!(storage.all(|asked| !asked.headers.contains_key("authorization")), "{way}");
    }
}

#[test]
fn credentials_that_are_refused_are_a_matter_of_the_target_and_stay_unseen() {
    let databricks = Databricks::start(Rules::default());
    let host = ("DATABRICKS_HOST", databricks.host());
    let token = Delivery::with([host, ("DATABRICKS_TOKEN", "dapi-of-another")]);
    let robot = Delivery::with([
        host,
        ("DATABRICKS_CLIENT_ID", CLIENT_ID),
        ("DATABRICKS_CLIENT_SECRET", "dose-of-another"),
    ]);
    for (delivery, said) in [(token, "refused the credentials"), (robot, "refused the service principal")] {
        let Err(ExportError::Target(reason)) = delivery.of(&trace()) else {
            panic!("delivered, or another error")
        };
        assert!(reason.contains(said) && !reason.contains("of-another"), "{reason}");
        assert_no_secret(&reason);
    }
    assert_eq!(databricks.traces(), [""; 0]);
}

#[test]
fn an_oauth_token_that_expires_on_the_way_is_replaced() {
    // Between any two requests, and so also between the information and the spans.
    for token_lasts in 1..5 {
        let databricks = Databricks::start(Rules { token_lasts, ..Rules::default() });
        robot(&databricks).of(&trace()).expect("delivered with a second token");
        assert_eq!(spans(&databricks, &trace()), 3);
        assert!(refusals(&databricks) >= 1, "{token_lasts}: {:?}", databricks.story());
        assert_eq!(grants(&databricks), 1 + refusals(&databricks), "{token_lasts}");
    }
}

#[test]
fn an_oauth_token_that_is_about_to_expire_is_replaced_before_it_is_refused() {
    let databricks = Databricks::start(Rules { token_expires_in: 30, ..Rules::default() });
    robot(&databricks).of(&trace()).expect("delivered with many tokens");
    assert_eq!(refusals(&databricks), 0, "{:?}", databricks.story());
    assert!(grants(&databricks) > 3, "{:?}", databricks.story());
}

#[test]
fn a_token_that_is_never_good_is_not_asked_for_again_and_again() {
    let databricks = Databricks::start(Rules { token_lasts: 0, ..Rules::default() });
    let Err(ExportError::Target(reason)) = robot(&databricks).of(&trace()) else { panic!("another end") };
    assert!(reason.contains("Token is expired"), "{reason}");
    assert_eq!((grants(&databricks), refusals(&databricks)), (1, 1));
    assert_no_secret(&reason);
}

fn robot(databricks: &Databricks) -> Delivery<'static> {
    Delivery::with([
        ("DATABRICKS_HOST", databricks.host()),
        ("DATABRICKS_CLIENT_ID", CLIENT_ID),
        ("DATABRICKS_CLIENT_SECRET", CLIENT_SECRET),
    ])
}
