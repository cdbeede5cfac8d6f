//! The rules for secrets: the built-in ones (`rules.toml`), and those that users add.

use super::rule_check::RuleCheck;
use crate::settings::file::ConfigFile;
use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::Value;
use std::sync::OnceLock;

const BUILT_IN: &str = include_str!("rules.toml");

/// Limits of a user's rules and allowed values: each slows down every trace.
const MOST_RULES: usize = 200;
const LONGEST_NAME: usize = 40;
const LONGEST_PATTERN: usize = 2000;
const MOST_KEYWORDS: usize = 20;

/// Bytes of a compiled pattern. Built-in patterns need a tenth of it.
const LARGEST_PATTERN: usize = 1 << 20;

/// Levels of nested groups in a pattern.
const DEEPEST_PATTERN: u32 = 32;

/// One kind of secret, as `rules.toml` has it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub name: String,
    pattern: String,
    #[serde(default)]
    pub keywords: Vec<String>,
    #[serde(default)]
    pub(super) before: usize,
    #[serde(default)]
    pub(super) anywhere: bool,
    #[serde(default)]
    pub(super) check: RuleCheck,
    /// Test strings with a secret; none for rules that people add.
    #[serde(default)]
    pub finds: Vec<String>,
    /// Test strings without a secret.
    #[serde(default)]
    pub ignores: Vec<String>,
    /// A keyword anywhere makes the rule search the whole text.
    #[serde(skip)]
    pub(super) is_unlimited: bool,
    #[serde(skip)]
    compiled: OnceLock<Option<Regex>>,
}

/// The rules and exceptions of a redactor.
#[derive(Debug, Default)]
pub struct Rules {
    pub rules: Vec<Rule>,
    /// Values that are no secrets, even where a rule finds them.
    pub(super) allowed: Vec<Regex>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesFile {
    rule: Vec<Rule>,
}

/// A user's rule in the configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserRule {
    name: String,
    pattern: String,
    #[serde(default)]
    keywords: Vec<String>,
}

impl Rules {
    pub fn built_in() -> Rules {
        let file: RulesFile = toml::from_str(BUILT_IN).expect("rules.toml is read by a test");
        Rules { rules: file.rule, allowed: Vec::new() }
    }

    /// The built-in rules hold even where the configuration file cannot be read. Its rules that cannot be followed are
    /// sentences.
    pub(super) fn from_config(config: &ConfigFile) -> (Rules, Vec<String>) {
        match config.redaction() {
            Some(redaction) => Rules::built_in().with_user_rules(redaction),
            None => (Rules::built_in(), Vec::new()),
        }
    }

    /// Adds the rules of the configuration's `redaction`. An invalid entry is skipped and reported as a sentence; the
    /// built-in rules always apply.
    pub fn with_user_rules(mut self, redaction: &Value) -> (Rules, Vec<String>) {
        let mut problems = Vec::new();
        let Some(object) = redaction.as_object() else {
            let problem = "\"redaction\" is no object, so it counts as not there (see docs/configuration.md)";
            return (self, vec![problem.to_owned()]);
        };
        for (key, value) in object {
            match (key.as_str(), value.as_array()) {
                ("rules" | "allow", None) => problems.push(format!("redaction: \"{key}\" is no list")),
                ("rules" | "allow", Some(list)) if list.len() > MOST_RULES => {
                    problems.push(format!("redaction: \"{key}\" has more than {MOST_RULES} entries"));
                }
                ("rules", Some(list)) => {
                    list.iter().enumerate().for_each(|(at, rule)| match user_rule(rule, at) {
                        Ok(rule) if self.rules.iter().any(|other| other.name == rule.name) => {
                            problems.push(refused(&rule.name, "there is a rule of that name"));
                        }
                        Ok(rule) => self.rules.push(rule),
                        Err(problem) => problems.push(problem),
                    })
                }
                ("allow", Some(list)) => list.iter().enumerate().for_each(|(at, allowed)| {
                    let pattern = allowed.as_str().ok_or("it is no text".to_owned());
                    match pattern.and_then(|pattern| compile(&format!(r"\A(?:{pattern})\z"), pattern.len())) {
                        Ok(regex) => self.allowed.push(regex),
                        Err(why) => problems
                            .push(format!("redaction: entry {} of \"allow\" is not used: {why}", at + 1)),
                    }
                }),
                (key, _) => problems.push(format!(
                    "redaction: \"{}\" is neither \"rules\" nor \"allow\", and is not used",
                    key.chars().take(LONGEST_NAME).collect::<String>()
                )),
            }
        }
        (self, problems)
    }
}

impl Rule {
    /// None for an invalid pattern. A test excludes it for built-in rules, and parsing for a user's rules.
    pub(super) fn regex(&self) -> Option<&Regex> {
        let anchored = || {
            let pattern = match self.is_anchored() {
                true => format!(r"\A(?:{})", self.pattern),
                false => self.pattern.clone(),
            };
            compile(&pattern, 0).ok()
        };
        self.compiled.get_or_init(anchored).as_ref()
    }

    /// A match begins with the keyword, so nothing need be searched for it.
    pub(super) fn is_anchored(&self) -> bool {
        self.before == 0 && !self.keywords.is_empty()
    }
}

/// The rules of the configuration file that cannot be followed, as sentences. Nothing is compiled without such rules.
pub fn problems(config: &ConfigFile) -> Vec<String> {
    if config.redaction().is_some() { Rules::from_config(config).1 } else { Vec::new() }
}

fn user_rule(rule: &Value, at: usize) -> Result<Rule, String> {
    let number = at + 1;
    let name = rule.get("name").and_then(Value::as_str).unwrap_or_default();
    let is_name = !name.is_empty()
        && name.len() <= LONGEST_NAME
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !is_name {
        return Err(format!(
            "redaction rule {number} is not used: it needs a name of small letters, digits and hyphens, \
             {LONGEST_NAME} at most"
        ));
    }
    let UserRule { name, pattern, keywords } =
        UserRule::deserialize(rule).map_err(|error| refused(name, &error.to_string()))?;
    let is_keyword = |keyword: &String| (2..=LONGEST_NAME).contains(&keyword.len()) && keyword.is_ascii();
    if keywords.len() > MOST_KEYWORDS || !keywords.iter().all(is_keyword) {
        let why = format!(
            "its keywords are not {MOST_KEYWORDS} at most, of 2 to {LONGEST_NAME} ASCII characters each"
        );
        return Err(refused(&name, &why));
    }
    let compiled = compile(&pattern, pattern.len()).map_err(|why| refused(&name, &why))?;
    if compiled.is_match(b"") {
        return Err(refused(&name, "its pattern matches where nothing is"));
    }
    Ok(Rule {
        name,
        keywords,
        before: usize::MAX,
        // A user's rule searches the whole text: users need not know the built-in rules' limits.
        is_unlimited: true,
        anywhere: true,
        check: RuleCheck::Any,
        pattern,
        compiled: OnceLock::from(Some(compiled)),
        ..Rule::default()
    })
}

fn refused(name: &str, why: &str) -> String {
    format!("redaction rule \"{name}\" is not used: {why} (the built-in rules count in any case)")
}

/// A pattern over bytes; `merged` widens its matches to character boundaries.
fn compile(pattern: &str, written: usize) -> Result<Regex, String> {
    if written > LONGEST_PATTERN {
        return Err(format!("its pattern is longer than {LONGEST_PATTERN} characters"));
    }
    let mut builder = RegexBuilder::new(pattern);
    builder
        .unicode(false)
        .size_limit(LARGEST_PATTERN)
        .dfa_size_limit(LARGEST_PATTERN)
        .nest_limit(DEEPEST_PATTERN);
    builder.build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "its pattern is too large (count fewer repetitions)".to_owned(),
        // Several lines with the pattern and a mark below it; the last line is the reason.
        error => {
            let text = error.to_string();
            format!(
                "its pattern is no regular expression ({})",
                text.lines().last().unwrap_or_default().trim()
            )
        }
    })
}
