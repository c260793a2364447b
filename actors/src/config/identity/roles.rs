//! Roles and the scopes they allow.

use super::Role;
use crate::error::{Error, Result};

/// The scope that implies every other scope of the role.
pub const ADMIN_SCOPE: &str = "operator.admin";

/// What everybody has within their own account.
const MEMBER: [&str; 9] = [
    "operator.read",
    "operator.write",
    "operator.approvals",
    "operator.questions",
    "operator.pairing",
    "operator.talk",
    "operator.talk.secrets",
    "mcp:*",
    "agent",
];

impl Role {
    /// The name in the database and on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// The role of this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Member, Self::Admin, Self::Owner]
            .into_iter()
            .find(|role| role.name() == name)
    }
}

/// All operator scopes a role allows, in wire spelling. `mcp:*` stands for every scope that starts with `mcp:`.
pub fn role_scopes(role: Role) -> Vec<String> {
    let admin = match role {
        Role::Owner | Role::Admin => Some(ADMIN_SCOPE),
        Role::Member => None,
    };
    admin.into_iter().chain(MEMBER).map(str::to_owned).collect()
}

/// With these scopes a user decides about all devices of their own, nodes too: admin, or all that a member has as operator.
pub fn device_authority(role: Role) -> Vec<String> {
    match role {
        Role::Owner | Role::Admin => vec![ADMIN_SCOPE.to_owned()],
        Role::Member => MEMBER
            .into_iter()
            .filter(|scope| scope.starts_with("operator."))
            .map(str::to_owned)
            .collect(),
    }
}

/// What a credential may do: its own list, never more than the role allows. No list, or a list with
/// `operator.admin`, means all of the role's.
pub fn effective_scopes(role: Role, listed: Option<&[String]>) -> Vec<String> {
    let allowed = role_scopes(role);
    match listed {
        None => allowed,
        Some(listed) if listed.iter().any(|scope| scope == ADMIN_SCOPE) => allowed,
        Some(listed) => listed.iter().filter(|scope| covers(&allowed, scope)).cloned().collect(),
    }
}

/// Refuses names that are no scope at all, and scopes that this role cannot give. `operator.admin` stands for all of
/// the role's, so everybody may ask for it.
pub(super) fn check_scopes(role: Role, listed: &[String]) -> Result<()> {
    let known = role_scopes(Role::Owner);
    let allowed = role_scopes(role);
    for scope in listed {
        if !covers(&known, scope) {
            return Err(Error::Invalid(format!(
                "unknown scope {scope}; known are {}",
                known.join(", ")
            )));
        }
        if scope != ADMIN_SCOPE && !covers(&allowed, scope) {
            return Err(Error::Forbidden(format!(
                "the role {} cannot give {scope}",
                role.name()
            )));
        }
    }
    Ok(())
}

fn covers(scopes: &[String], wanted: &str) -> bool {
    scopes.iter().any(|scope| {
        scope == wanted
            || scope
                .strip_suffix('*')
                .is_some_and(|prefix| wanted.starts_with(prefix) && wanted != prefix)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::scopes;

    fn list(scopes: &[&str]) -> Vec<String> {
        scopes.iter().map(|scope| (*scope).to_owned()).collect()
    }

    #[test]
    fn a_credential_never_exceeds_the_role() {
        let check = |role, listed: Option<&[&str]>, expected: Vec<String>| {
            let listed = listed.map(list);
            assert_eq!(
                effective_scopes(role, listed.as_deref()),
                expected,
                "{role:?} {listed:?}"
            );
        };
        check(Role::Owner, None, role_scopes(Role::Owner));
        check(Role::Member, None, role_scopes(Role::Member));
        check(Role::Admin, Some(&["operator.admin"]), role_scopes(Role::Admin));
        check(Role::Member, Some(&["operator.admin"]), role_scopes(Role::Member));
        check(
            Role::Owner,
            Some(&["operator.read", "mcp:read"]),
            list(&["operator.read", "mcp:read"]),
        );
        check(Role::Owner, Some(&["operator.everything", "mcp:"]), list(&[]));
        check(Role::Owner, Some(&[]), list(&[]));
        assert!(!role_scopes(Role::Member).iter().any(|scope| scope == ADMIN_SCOPE));
    }

    #[test]
    fn who_decides_about_devices_of_their_own_has_all_of_their_role() {
        for role in [Role::Member, Role::Admin, Role::Owner] {
            let authority = device_authority(role);
            assert!(scopes::holds_all(&role_scopes(role), &authority), "{role:?}");
            for left_out in &authority {
                let rest: Vec<String> = authority.iter().filter(|scope| *scope != left_out).cloned().collect();
                let implied = role == Role::Member && ["operator.read", "operator.talk"].contains(&left_out.as_str());
                assert_eq!(
                    scopes::holds_all(&rest, &authority),
                    implied,
                    "{role:?} without {left_out}"
                );
            }
        }
    }

    #[test]
    fn scopes_are_checked_when_a_token_is_made() {
        assert!(check_scopes(Role::Owner, &list(&["operator.admin", "mcp:chat", "agent"])).is_ok());
        assert!(matches!(
            check_scopes(Role::Owner, &list(&["operator.root"])),
            Err(Error::Invalid(_))
        ));
        assert!(check_scopes(Role::Member, &list(&["operator.admin"])).is_ok());
    }
}
