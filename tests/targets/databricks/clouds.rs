//! The four kinds of storage behind a workspace.

use super::made::{Delivery, assert_no_secret, file, large_trace, spans, trace};
use mlflow_store::exporter::ExportError;
use support::Databricks;
use support::databricks::{Cloud, Reachable, Rules, TOKEN};

const CLOUDS: [Cloud; 4] = [Cloud::Aws, Cloud::Google, Cloud::AzureBlob, Cloud::AzureLake];

/// Requests to the storage, and how many of them were refused.
fn to_storage(databricks: &Databricks) -> (usize, usize) {
    let all = databricks.exchanges();
    let to_storage = || all.iter().filter(|asked| asked.is_to_storage());
    (to_storage().count(), to_storage().filter(|asked| asked.status >= 400).count())
}

#[test]
fn every_cloud_takes_the_spans_however_many() {
    let large = large_trace();
    for (cloud, requests) in CLOUDS.into_iter().zip([[1, 1], [1, 1], [2, 4], [2, 5]]) {
        for (trace, expected) in [trace(), large.clone()].iter().zip(requests) {
            let databricks = Databricks::start(Rules { cloud, ..Rules::default() });
            let delivery = Delivery::to(&databricks);
            delivery.of(trace).unwrap_or_else(|error| panic!("{cloud:?}: {error}"));
            assert_eq!(to_storage(&databricks), (expected, 0), "{cloud:?}");
            let outputs = file(&databricks, trace)["spans"][2]["attributes"]["mlflow.spanOutputs"].clone();
            let length = trace.spans[2].outputs.to_string().len();
            // A space after the colon, as Python writes it.
            assert_eq!(outputs.as_str().map(str::len), Some(length + 1), "{cloud:?}");
        }
    }
}

#[test]
fn an_address_that_expires_in_mid_upload_is_replaced() {
    let large = large_trace();
    for cloud in CLOUDS {
        // Too old at first; then each good for one request, of the several that Azure needs.
        let rules = Rules { cloud, dead_addresses: 2, address_lasts: 1, ..Rules::default() };
        let databricks = Databricks::start(rules);
        Delivery::to(&databricks).of(&large).unwrap_or_else(|error| panic!("{cloud:?}: {error}"));
        assert_eq!(spans(&databricks, &large), 3, "{cloud:?}");
        let (requests, refused) = to_storage(&databricks);
        let taken = requests - refused;
        assert_eq!(refused, 2 + taken - 1, "{cloud:?}: every address but the last was used up");
    }
}

#[test]
fn an_answer_that_was_lost_costs_no_span() {
    for (cloud, lost) in [(Cloud::AzureBlob, "blocklist"), (Cloud::AzureLake, "append")] {
        let databricks = Databricks::start(Rules { cloud, lost: Some(lost), ..Rules::default() });
        let at_once = [
            ("DATABRICKS_HOST", databricks.host()),
            ("DATABRICKS_TOKEN", TOKEN),
            ("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0"),
            ("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0"),
        ];
        Delivery::with(at_once).of(&trace()).unwrap_or_else(|error| panic!("{cloud:?}: {error}"));
        assert_eq!(spans(&databricks, &trace()), 3, "{cloud:?}");
        // Sent again as it was, it is out of step; so all of it is sent again.
        assert_eq!(to_storage(&databricks), (5, 1), "{cloud:?}: {:#?}", databricks.story());
    }
}

#[test]
fn addresses_that_are_never_good_end_the_delivery_and_stay_unseen() {
    for cloud in CLOUDS {
        let databricks = Databricks::start(Rules { cloud, address_lasts: 0, ..Rules::default() });
        let Err(error) = Delivery::to(&databricks).of(&trace()) else { panic!("{cloud:?} took it") };
        assert!(matches!(error, ExportError::Target(_)), "{cloud:?}: {error:?}");
        assert!(
            error.to_string().starts_with("the cloud storage at 127.0.0.1 refused the spans with HTTP 40")
        );
        assert_no_secret(&format!("{error:?}").replace("SignatureDoesNotMatch", ""));
        assert_eq!(to_storage(&databricks), (4, 4), "{cloud:?}");
    }
}

#[test]
fn a_storage_out_of_reach_is_named_in_the_error() {
    let databricks = Databricks::start(Rules { storage: Reachable::Refused, ..Rules::default() });
    let Err(ExportError::Target(reason)) = Delivery::to(&databricks).of(&trace()) else { panic!("took it") };
    assert_eq!(
        reason,
        "the cloud storage at 127.0.0.1 refused the spans with HTTP 403 (AuthorizationFailure) (is this machine \
         allowed to reach the workspace's storage?)"
    );
}
