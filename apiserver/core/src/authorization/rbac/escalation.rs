//! Nobody grants what they don't have. Follows `rbac/validation/policy_comparator.go`.

use super::Rule;
use super::rule::{has, resource_matches, url_matches};

/// Compares the rules of a user with those of a role they want to write or bind.
#[derive(Debug)]
pub struct EscalationCheck<'a> {
    owned: &'a [Rule],
}

impl<'a> EscalationCheck<'a> {
    pub fn new(owned: &'a [Rule]) -> Self {
        Self { owned }
    }

    /// The single grants in `wanted` that no owned rule covers; empty when the write is fine.
    pub fn missing(&self, wanted: &[Rule]) -> Vec<Rule> {
        let mut missing: Vec<Rule> = wanted
            .iter()
            .flat_map(break_down)
            .filter(|grant| !self.covers(grant))
            .collect();
        missing.sort();
        missing.dedup();
        missing
    }

    /// `grant` is broken down: one verb, group, resource and name (or one path).
    fn covers(&self, grant: &Rule) -> bool {
        self.owned.iter().any(|rule| {
            let verbs = grant.verbs.iter().all(|verb| has(&rule.verbs, verb));
            let urls = grant
                .non_resource_urls
                .iter()
                .all(|url| rule.non_resource_urls.iter().any(|owned| url_matches(owned, url)));
            let groups = grant.api_groups.iter().all(|group| has(&rule.api_groups, group));
            let resources = grant.resources.iter().all(|wanted| {
                let (resource, sub) = wanted.split_once('/').unwrap_or((wanted, ""));
                rule.resources
                    .iter()
                    .any(|owned| owned == wanted || resource_matches(owned, resource, sub))
            });
            let names = rule.resource_names.is_empty()
                || (!grant.resource_names.is_empty()
                    && grant
                        .resource_names
                        .iter()
                        .all(|name| rule.resource_names.contains(name)));
            let same_kind = grant.resources.is_empty() || !rule.resources.is_empty();
            verbs && urls && groups && resources && names && same_kind
        })
    }
}

fn break_down(rule: &Rule) -> Vec<Rule> {
    let mut grants = Vec::new();
    for verb in &rule.verbs {
        for url in &rule.non_resource_urls {
            grants.push(Rule {
                verbs: vec![verb.clone()],
                non_resource_urls: vec![url.clone()],
                ..Rule::default()
            });
        }
        for group in &rule.api_groups {
            for resource in &rule.resources {
                let names: Vec<Vec<String>> = if rule.resource_names.is_empty() {
                    vec![Vec::new()]
                } else {
                    rule.resource_names
                        .iter()
                        .map(|name| vec![name.clone()])
                        .collect()
                };
                for resource_names in names {
                    grants.push(Rule {
                        verbs: vec![verb.clone()],
                        api_groups: vec![group.clone()],
                        resources: vec![resource.clone()],
                        resource_names,
                        ..Rule::default()
                    });
                }
            }
        }
    }
    grants
}

#[cfg(test)]
mod tests {
    use super::EscalationCheck;
    use crate::authorization::Rule;

    fn rule(verbs: &[&str], resources: &[&str], names: &[&str]) -> Rule {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        Rule {
            verbs: owned(verbs),
            api_groups: owned(&[""]),
            resources: owned(resources),
            resource_names: owned(names),
            ..Rule::default()
        }
    }

    #[test]
    fn a_grant_may_be_covered_by_several_rules_together() {
        let owned = [rule(&["get"], &["pods"], &[]), rule(&["list"], &["pods"], &[])];
        assert!(
            EscalationCheck::new(&owned)
                .missing(&[rule(&["get", "list"], &["pods"], &[])])
                .is_empty()
        );
    }

    #[test]
    fn what_is_owned_for_one_name_cannot_be_granted_for_all() {
        let owned = [rule(&["get"], &["secrets"], &["mine"])];
        let check = EscalationCheck::new(&owned);
        assert!(
            check
                .missing(&[rule(&["get"], &["secrets"], &["mine"])])
                .is_empty()
        );
        assert_eq!(check.missing(&[rule(&["get"], &["secrets"], &[])]).len(), 1);
        assert_eq!(
            check
                .missing(&[rule(&["get"], &["secrets"], &["mine", "yours"])])
                .len(),
            1
        );
    }

    #[test]
    fn a_wildcard_is_only_covered_by_a_wildcard() {
        let owned = [rule(&["get"], &["pods"], &[])];
        assert_eq!(
            EscalationCheck::new(&owned)
                .missing(&[rule(&["*"], &["pods"], &[])])
                .len(),
            1
        );
        let all = [rule(&["*"], &["*"], &[])];
        assert!(
            EscalationCheck::new(&all)
                .missing(&[rule(&["*"], &["*"], &[])])
                .is_empty()
        );
    }
}
