//! The CI job in which a launch runs, in OpenTelemetry's words (`cicd.*`, `vcs.*`). Nothing else of a job's environment is
//! read. docs/ci.md lists the variables.

use common::variables::Variables;
use std::collections::BTreeMap;

/// How a CI system names what a trace keeps. Of several variables the first that is set counts.
struct System {
    /// Set by this system alone.
    mark: &'static str,
    url: fn(&Variables) -> Option<String>,
    run: &'static [&'static str],
    pipeline: &'static [&'static str],
    task: &'static [&'static str],
    change: fn(&Variables) -> Option<String>,
    branch: &'static [&'static str],
    commit: &'static [&'static str],
}

const SYSTEMS: [System; 6] = [
    System {
        mark: "GITHUB_ACTIONS",
        url: |variables| {
            let [server, repository, run] =
                ["GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID"].map(|name| variables.text(name));
            Some(format!("{}/{}/actions/runs/{}", server?, repository?, run?))
        },
        run: &["GITHUB_RUN_ID"],
        pipeline: &["GITHUB_WORKFLOW"],
        task: &["GITHUB_JOB"],
        // refs/pull/123/merge
        change: |variables| {
            Some(variables.text("GITHUB_REF")?.strip_prefix("refs/pull/")?.split('/').next()?.to_owned())
        },
        branch: &["GITHUB_HEAD_REF", "GITHUB_REF_NAME"],
        commit: &["GITHUB_SHA"],
    },
    System {
        mark: "GITLAB_CI",
        url: |variables| first(&["CI_PIPELINE_URL"], variables),
        run: &["CI_PIPELINE_ID"],
        pipeline: &["CI_PIPELINE_NAME", "CI_PROJECT_PATH"],
        task: &["CI_JOB_NAME"],
        change: |variables| first(&["CI_MERGE_REQUEST_IID"], variables),
        branch: &["CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "CI_COMMIT_REF_NAME"],
        commit: &["CI_COMMIT_SHA"],
    },
    System {
        mark: "BUILDKITE",
        url: |variables| first(&["BUILDKITE_BUILD_URL"], variables),
        run: &["BUILDKITE_BUILD_ID"],
        pipeline: &["BUILDKITE_PIPELINE_SLUG"],
        task: &["BUILDKITE_LABEL"],
        // "false" for a build of no pull request.
        change: |variables| first(&["BUILDKITE_PULL_REQUEST"], variables).filter(|id| id != "false"),
        branch: &["BUILDKITE_BRANCH"],
        commit: &["BUILDKITE_COMMIT"],
    },
    System {
        mark: "CIRCLECI",
        url: |variables| first(&["CIRCLE_BUILD_URL"], variables),
        run: &["CIRCLE_WORKFLOW_ID"],
        pipeline: &["CIRCLE_PROJECT_REPONAME"],
        task: &["CIRCLE_JOB"],
        // The address of a pull request ends with its number.
        change: |variables| {
            let number = first(&["CIRCLE_PR_NUMBER"], variables);
            let in_address = || Some(variables.text("CIRCLE_PULL_REQUEST")?.rsplit('/').next()?.to_owned());
            number.or_else(in_address)
        },
        branch: &["CIRCLE_BRANCH"],
        commit: &["CIRCLE_SHA1"],
    },
    System {
        mark: "JENKINS_URL",
        url: |variables| first(&["BUILD_URL"], variables),
        run: &["BUILD_NUMBER"],
        pipeline: &["JOB_NAME"],
        task: &["STAGE_NAME"],
        change: |variables| first(&["CHANGE_ID"], variables),
        branch: &["CHANGE_BRANCH", "BRANCH_NAME", "GIT_BRANCH"],
        commit: &["GIT_COMMIT"],
    },
    System {
        mark: "TF_BUILD",
        url: |variables| {
            let [collection, project, build] =
                ["SYSTEM_COLLECTIONURI", "SYSTEM_TEAMPROJECT", "BUILD_BUILDID"]
                    .map(|name| variables.text(name));
            let collection = collection?.trim_end_matches('/');
            Some(format!("{collection}/{}/_build/results?buildId={}", project?, build?))
        },
        run: &["BUILD_BUILDID"],
        pipeline: &["BUILD_DEFINITIONNAME"],
        task: &["SYSTEM_JOBDISPLAYNAME"],
        change: |variables| {
            let names = ["SYSTEM_PULLREQUEST_PULLREQUESTNUMBER", "SYSTEM_PULLREQUEST_PULLREQUESTID"];
            first(&names, variables)
        },
        branch: &["SYSTEM_PULLREQUEST_SOURCEBRANCH", "BUILD_SOURCEBRANCHNAME"],
        commit: &["BUILD_SOURCEVERSION"],
    },
];

/// Empty outside of the systems that are known.
pub(super) fn facts(variables: &Variables) -> BTreeMap<String, String> {
    let Some(system) = SYSTEMS.iter().find(|system| variables.text(system.mark).is_some()) else {
        return BTreeMap::new();
    };
    let of = |names| first(names, variables);
    let facts = [
        ("cicd.pipeline.run.url.full", (system.url)(variables)),
        ("cicd.pipeline.run.id", of(system.run)),
        ("cicd.pipeline.name", of(system.pipeline)),
        ("cicd.pipeline.task.name", of(system.task)),
        ("vcs.change.id", (system.change)(variables)),
        ("vcs.ref.head.name", of(system.branch)),
        ("vcs.ref.head.revision", of(system.commit)),
    ];
    facts.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

fn first(names: &[&str], variables: &Variables) -> Option<String> {
    names.iter().find_map(|name| variables.text(name)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pairs: &[(&str, &str)]) -> String {
        let variables = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let facts = facts(&variables);
        let get = |key: &str| facts.get(key).cloned().unwrap_or_default();
        ["cicd.pipeline.run.url.full", "vcs.change.id", "vcs.ref.head.name", "vcs.ref.head.revision"]
            .map(get)
            .join(" ")
    }

    #[test]
    fn each_system_names_its_run_change_branch_and_commit() {
        let table: &[(&[(&str, &str)], &str)] = &[
            (&[("CI", "true"), ("GITHUB_SHA", "c")], "   "),
            (
                &[
                    ("GITHUB_ACTIONS", "true"),
                    ("GITHUB_SERVER_URL", "https://github.com"),
                    ("GITHUB_REPOSITORY", "a/b"),
                    ("GITHUB_RUN_ID", "7"),
                    ("GITHUB_REF", "refs/pull/12/merge"),
                    ("GITHUB_HEAD_REF", "topic"),
                    ("GITHUB_REF_NAME", "12/merge"),
                    ("GITHUB_SHA", "c0ffee"),
                ],
                "https://github.com/a/b/actions/runs/7 12 topic c0ffee",
            ),
            (
                &[("GITHUB_ACTIONS", "true"), ("GITHUB_REF", "refs/heads/main"), ("GITHUB_REF_NAME", "main")],
                "  main ",
            ),
            (
                &[
                    ("GITLAB_CI", "true"),
                    ("CI_PIPELINE_URL", "https://gl/p/1"),
                    ("CI_MERGE_REQUEST_IID", "3"),
                    ("CI_COMMIT_REF_NAME", "topic"),
                    ("CI_COMMIT_SHA", "c"),
                ],
                "https://gl/p/1 3 topic c",
            ),
            (
                &[
                    ("BUILDKITE", "true"),
                    ("BUILDKITE_BUILD_URL", "https://bk/1"),
                    ("BUILDKITE_PULL_REQUEST", "false"),
                    ("BUILDKITE_BRANCH", "main"),
                    ("BUILDKITE_COMMIT", "c"),
                ],
                "https://bk/1  main c",
            ),
            (
                &[
                    ("CIRCLECI", "true"),
                    ("CIRCLE_BUILD_URL", "https://cc/1"),
                    ("CIRCLE_PULL_REQUEST", "https://github.com/a/b/pull/9"),
                    ("CIRCLE_BRANCH", "topic"),
                    ("CIRCLE_SHA1", "c"),
                ],
                "https://cc/1 9 topic c",
            ),
            (
                &[
                    ("JENKINS_URL", "https://j"),
                    ("BUILD_URL", "https://j/job/1"),
                    ("CHANGE_ID", "4"),
                    ("CHANGE_BRANCH", "topic"),
                    ("GIT_COMMIT", "c"),
                ],
                "https://j/job/1 4 topic c",
            ),
            (
                &[
                    ("TF_BUILD", "True"),
                    ("SYSTEM_COLLECTIONURI", "https://dev.azure.com/org/"),
                    ("SYSTEM_TEAMPROJECT", "p"),
                    ("BUILD_BUILDID", "5"),
                    ("SYSTEM_PULLREQUEST_PULLREQUESTNUMBER", "6"),
                    ("BUILD_SOURCEBRANCHNAME", "merge"),
                    ("SYSTEM_PULLREQUEST_SOURCEBRANCH", "refs/heads/topic"),
                    ("BUILD_SOURCEVERSION", "c"),
                ],
                "https://dev.azure.com/org/p/_build/results?buildId=5 6 refs/heads/topic c",
            ),
        ];
        for (variables, expected) in table {
            assert_eq!(shown(variables), *expected, "{variables:?}");
        }
    }
}
