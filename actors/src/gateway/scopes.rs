//! Operator scopes: names, what implies what, intersection.

pub const ADMIN: &str = "operator.admin";
pub const READ: &str = "operator.read";
pub const WRITE: &str = "operator.write";
pub const APPROVALS: &str = "operator.approvals";
pub const QUESTIONS: &str = "operator.questions";
pub const PAIRING: &str = "operator.pairing";
pub const TALK: &str = "operator.talk";
pub const TALK_SECRETS: &str = "operator.talk.secrets";

/// Does a holder of `held` have `scope`: admin holds all operator scopes, write includes read and talk.
pub fn holds(held: &[String], scope: &str) -> bool {
    held.iter().any(|have| {
        have == scope
            || (have == ADMIN && scope.starts_with("operator."))
            || (have == WRITE && (scope == READ || scope == TALK))
    })
}

/// Does `held` cover every one of `wanted`.
pub fn holds_all(held: &[String], wanted: &[String]) -> bool {
    wanted.iter().all(|scope| holds(held, scope))
}

/// The part of `asked` that `held` covers, in the order asked, each once.
pub fn intersect(asked: &[String], held: &[String]) -> Vec<String> {
    let mut granted: Vec<String> = Vec::new();
    for scope in asked {
        if holds(held, scope) && !granted.contains(scope) {
            granted.push(scope.clone());
        }
    }
    granted
}

/// Both lists together, each scope once.
pub fn union(left: &[String], right: &[String]) -> Vec<String> {
    let mut all = left.to_vec();
    for scope in right {
        if !all.contains(scope) {
            all.push(scope.clone());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(scopes: &[&str]) -> Vec<String> {
        scopes.iter().map(|scope| format!("operator.{scope}")).collect()
    }

    #[test]
    fn implications() {
        assert!(holds(&list(&["admin"]), "operator.talk.secrets"));
        assert!(!holds(&list(&["admin"]), "mcp:tools"));
        assert!(holds(&list(&["write"]), READ));
        assert!(!holds(&list(&["read"]), WRITE));
        assert!(!holds(&list(&["write"]), APPROVALS));
        assert!(!holds(&[], READ));
    }

    #[test]
    fn intersections_never_grow() {
        let asked = list(&["admin", "read", "read", "pairing"]);
        assert_eq!(
            intersect(&asked, &list(&["write", "pairing"])),
            list(&["read", "pairing"])
        );
        assert_eq!(intersect(&asked, &[]), Vec::<String>::new());
        assert_eq!(
            union(&list(&["read"]), &list(&["read", "write"])),
            list(&["read", "write"])
        );
    }
}
