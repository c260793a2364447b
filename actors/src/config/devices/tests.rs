//! Pairing on a real database: requests, approvals, tokens, surfaces, and that nothing crosses users or tenants.

use claw_entities::{Scope, UserOwned, device_request};
use sea_orm::PaginatorTrait;
use serde_json::{Value, json};

use super::surface::{SurfaceClaim, required_scopes};
use super::*;
use crate::config::identity::Role;
use crate::config::testing::{self, Server};
use crate::gateway::scopes::{ADMIN, PAIRING, READ, WRITE};

fn list(scopes: &[&str]) -> Vec<String> {
    scopes.iter().map(|scope| (*scope).to_owned()).collect()
}

fn claim(device_id: &str, role: &str, scopes: &[&str]) -> DeviceClaim {
    DeviceClaim {
        device_id: device_id.to_owned(),
        public_key: "key".to_owned(),
        display_name: Some("box".to_owned()),
        platform: "linux".to_owned(),
        device_family: "Linux".to_owned(),
        client_id: "cli".to_owned(),
        client_mode: "cli".to_owned(),
        role: role.to_owned(),
        scopes: list(scopes),
    }
}

async fn start() -> (Server, Scope) {
    let server = testing::start().await;
    let owner = testing::owner(&server.config).await;
    (server, owner)
}

async fn required(server: &Server, scope: &Scope, claim: &DeviceClaim) -> PairingRequired {
    match server.config.check_pairing(scope, claim).await.expect("checks") {
        Pairing::Required(required) => required,
        Pairing::Paired(_) => panic!("nobody approved this"),
    }
}

async fn paired(server: &Server, scope: &Scope, claim: &DeviceClaim) -> Paired {
    match server.config.check_pairing(scope, claim).await.expect("checks") {
        Pairing::Paired(paired) => paired,
        Pairing::Required(required) => panic!("still {}", required.reason),
    }
}

async fn approve(server: &Server, scope: &Scope, request: &PairingRequired, by: &[&str]) -> Result<Value> {
    server
        .config
        .approve_device(scope, &request.request_id, &list(by))
        .await
}

#[tokio::test]
async fn a_request_keeps_its_id_until_it_asks_for_more() {
    let (server, owner) = start().await;
    let first = required(&server, &owner, &claim("d1", "operator", &[READ])).await;
    assert_eq!((first.reason, first.fresh), ("not-paired", true));
    let again = required(&server, &owner, &claim("d1", "operator", &[READ])).await;
    assert_eq!((again.request_id, again.fresh), (first.request_id.clone(), false));
    let wider = required(&server, &owner, &claim("d1", "operator", &[PAIRING])).await;
    assert_ne!(wider.request_id, first.request_id);
    assert_eq!(wider.row["scopes"], json!([READ, PAIRING]));
    let gone = approve(&server, &owner, &first, &[ADMIN])
        .await
        .expect_err("was replaced");
    assert_eq!(gone.to_string(), "unknown requestId");
}

#[tokio::test]
async fn an_approval_never_grants_more_than_the_approver_has() {
    let (server, owner) = start().await;
    for (wish, by, allowed) in [
        (claim("node", "node", &[]), vec![PAIRING], false),
        (claim("node", "node", &[]), vec![ADMIN], true),
        (claim("admin", "operator", &[ADMIN]), vec![PAIRING, WRITE], false),
        (claim("writer", "operator", &[WRITE]), vec![PAIRING, READ], false),
        (claim("reader", "operator", &[READ]), vec![PAIRING, WRITE], true),
    ] {
        let request = required(&server, &owner, &wish).await;
        let done = approve(&server, &owner, &request, &by).await;
        match done {
            Ok(answer) => {
                assert!(allowed, "{wish:?} by {by:?}");
                assert_eq!(answer["device"]["deviceId"], json!(wish.device_id));
            }
            Err(error) => {
                assert!(!allowed, "{wish:?} by {by:?}");
                assert_eq!(error.to_string(), "device pairing approval denied");
            }
        }
    }
}

#[tokio::test]
async fn a_member_lets_nodes_of_their_own_in_with_all_they_have_and_no_less() {
    let (server, owner) = start().await;
    let member = testing::user(&server.config, owner.tenant_scope(), "m@acme.test", Role::Member).await;
    let all = device_authority(Role::Member);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let request = required(&server, &member, &claim("n1", "node", &[])).await;
    for left_out in [PAIRING, WRITE, "operator.approvals", "operator.questions"] {
        let narrow: Vec<&str> = all.iter().copied().filter(|scope| *scope != left_out).collect();
        let denied = approve(&server, &member, &request, &narrow).await;
        assert_eq!(
            denied.expect_err(left_out).to_string(),
            "device pairing approval denied"
        );
    }
    approve(&server, &member, &request, &all).await.expect("approves");
    paired(&server, &member, &claim("n1", "node", &[])).await;
    // The same scopes are not all that an owner has.
    let owners = required(&server, &owner, &claim("n1", "node", &[])).await;
    assert!(approve(&server, &owner, &owners, &all).await.is_err());
}

#[tokio::test]
async fn a_paired_device_gets_the_same_token_until_rotation() {
    let (server, owner) = start().await;
    let wish = claim("d1", "operator", &[READ]);
    let request = required(&server, &owner, &wish).await;
    approve(&server, &owner, &request, &[ADMIN]).await.expect("approves");
    let first = paired(&server, &owner, &wish).await;
    assert_eq!(*first.scopes, *list(&[READ]));
    assert_eq!(paired(&server, &owner, &wish).await.token, first.token);

    let tenant = owner.tenant_scope();
    let grant = server
        .config
        .authenticate_device_token(tenant, &first.token)
        .await
        .expect("reads")
        .expect("known");
    assert_eq!((grant.device_id.as_str(), grant.role.as_str()), ("d1", "operator"));
    assert_eq!(grant.identity.user.scope, owner);

    let rotated = server
        .config
        .rotate_device_token(&owner, "d1", "operator", None)
        .await
        .expect("rotates");
    assert_ne!(rotated.token, first.token);
    assert!(
        server
            .config
            .authenticate_device_token(tenant, &first.token)
            .await
            .expect("reads")
            .is_none()
    );
    assert_eq!(paired(&server, &owner, &wish).await.token, rotated.token);

    let wider = required(&server, &owner, &claim("d1", "operator", &[WRITE])).await;
    assert_eq!((wider.reason, wider.approved_scopes), ("scope-upgrade", list(&[READ])));
    let moved = DeviceClaim {
        platform: "darwin".to_owned(),
        ..wish.clone()
    };
    assert_eq!(required(&server, &owner, &moved).await.reason, "metadata-upgrade");
    assert_eq!(
        required(&server, &owner, &claim("d1", "node", &[])).await.reason,
        "role-upgrade"
    );
}

#[tokio::test]
async fn a_revoked_token_needs_approval_and_comes_back_as_another() {
    let (server, owner) = start().await;
    let wish = claim("d1", "operator", &[READ]);
    let request = required(&server, &owner, &wish).await;
    approve(&server, &owner, &request, &[ADMIN]).await.expect("approves");
    let old = paired(&server, &owner, &wish).await.token;
    server
        .config
        .revoke_device_token(&owner, "d1", "operator")
        .await
        .expect("revokes");
    let tenant = owner.tenant_scope();
    assert!(
        server
            .config
            .authenticate_device_token(tenant, &old)
            .await
            .expect("reads")
            .is_none()
    );
    let request = required(&server, &owner, &wish).await;
    assert_eq!(
        (request.reason, &request.row["isRepair"]),
        ("role-upgrade", &json!(true))
    );
    approve(&server, &owner, &request, &[ADMIN]).await.expect("approves");
    assert_ne!(paired(&server, &owner, &wish).await.token, old);
}

#[tokio::test]
async fn devices_of_others_do_not_exist() {
    let (server, owner) = start().await;
    let colleague = testing::user(&server.config, owner.tenant_scope(), "b@acme.test", Role::Owner).await;
    let other_tenant = testing::tenant(&server.config, "other").await;
    let stranger = testing::user(&server.config, &other_tenant, "c@other.test", Role::Owner).await;
    let wish = claim("d1", "operator", &[READ]);
    let request = required(&server, &owner, &wish).await;
    for foreign in [&colleague, &stranger] {
        assert!(approve(&server, foreign, &request, &[ADMIN]).await.is_err());
        assert!(server.config.reject_device(foreign, &request.request_id).await.is_err());
    }
    approve(&server, &owner, &request, &[ADMIN]).await.expect("approves");
    let token = paired(&server, &owner, &wish).await.token;
    // The same key pairs with every tenant anew, and its token is good for one.
    assert!(
        server
            .config
            .authenticate_device_token(&other_tenant, &token)
            .await
            .expect("reads")
            .is_none()
    );
    for foreign in [&colleague, &stranger] {
        assert_eq!(required(&server, foreign, &wish).await.reason, "not-paired");
        assert!(!server.config.remove_device(foreign, "d1").await.expect("looks"));
        assert!(!server.config.rename_device(foreign, "d1", "mine").await.expect("looks"));
        assert!(
            server
                .config
                .rotate_device_token(foreign, "d1", "operator", None)
                .await
                .is_err()
        );
        assert_eq!(
            server.config.list_devices(foreign, &[]).await.expect("lists")["paired"],
            json!([])
        );
    }
    assert_eq!(paired(&server, &owner, &wish).await.token, token);
}

#[tokio::test]
async fn lists_show_names_and_no_token() {
    let (server, owner) = start().await;
    let wish = claim("d1", "operator", &[READ]);
    let request = required(&server, &owner, &wish).await;
    let pending = server.config.list_devices(&owner, &[]).await.expect("lists");
    assert_eq!(pending["pending"][0]["requestId"], json!(request.request_id));
    approve(&server, &owner, &request, &[ADMIN]).await.expect("approves");
    let token = paired(&server, &owner, &wish).await.token;
    assert!(
        server
            .config
            .rename_device(&owner, "d1", " Desk ")
            .await
            .expect("renames")
    );
    let listed = server
        .config
        .list_devices(&owner, &["d1".to_owned()])
        .await
        .expect("lists");
    let device = &listed["paired"][0];
    assert_eq!((&device["label"], &device["connected"]), (&json!("Desk"), &json!(true)));
    // Under which clients look for it.
    assert_eq!(device["operatorLabel"], "Desk");
    assert_eq!(listed["pending"], json!([]));
    assert!(!listed.to_string().contains(token.expose()));
    assert!(server.config.remove_device(&owner, "d1").await.expect("removes"));
    assert_eq!(required(&server, &owner, &wish).await.reason, "not-paired");
}

fn surface(commands: &[&str]) -> SurfaceClaim {
    SurfaceClaim {
        node_id: "n1".to_owned(),
        caps: list(&["system"]),
        commands: list(commands),
        facts: json!({"displayName": "box", "platform": "linux", "version": "1", "pathEnv": null}),
    }
}

#[tokio::test]
async fn a_surface_waits_for_approval_and_keeps_the_approved_part() {
    let (server, owner) = start().await;
    let config = &server.config;
    let request = required(&server, &owner, &claim("n1", "node", &[])).await;
    approve(&server, &owner, &request, &[ADMIN]).await.expect("approves");

    let row = config
        .declare_surface(&owner, &surface(&["system.run", "file.write"]))
        .await
        .expect("notes");
    let row = row.expect("a fresh request");
    assert_eq!(row["commands"], json!(["system.run"]));
    assert_eq!(row["requiredApproveScopes"], json!([PAIRING, ADMIN]));
    let request_id = row["requestId"].as_str().expect("an id").to_owned();
    assert!(
        config
            .declare_surface(&owner, &surface(&["system.run", "file.write"]))
            .await
            .expect("notes")
            .is_none()
    );
    let node = config.node(&owner, "n1").await.expect("there");
    assert_eq!(
        (node.commands(), node.pending_request()),
        (Vec::new(), Some(request_id.as_str()))
    );

    let denied = config
        .approve_surface(&owner, &request_id, &list(&[PAIRING]))
        .await
        .expect_err("needs admin");
    assert_eq!(denied.to_string(), format!("missing scope: {ADMIN}"));
    config
        .approve_surface(&owner, &request_id, &list(&[ADMIN]))
        .await
        .expect("approves");
    assert!(
        config
            .surface_is_current(&owner, &surface(&["system.run"]))
            .await
            .expect("looks")
    );

    let more = config
        .declare_surface(&owner, &surface(&["system.run", "system.notify"]))
        .await
        .expect("notes");
    let more = more.expect("asks for more")["requestId"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert_eq!(
        config.node(&owner, "n1").await.expect("there").commands(),
        list(&["system.run"])
    );
    config.reject_surface(&owner, &more).await.expect("rejects");
    let node = config.node(&owner, "n1").await.expect("there");
    assert_eq!((node.commands(), node.pending_request()), (list(&["system.run"]), None));

    config.rename_node(&owner, "n1", "kitchen").await.expect("renames");
    config
        .declare_surface(&owner, &surface(&["system.run"]))
        .await
        .expect("notes");
    assert_eq!(
        config.node(&owner, "n1").await.expect("there").display_name(),
        Some("kitchen")
    );
    config.remove_node(&owner, "n1").await.expect("removes");
    assert_eq!(
        config.node(&owner, "n1").await.expect_err("gone").to_string(),
        "unknown nodeId"
    );
}

#[test]
fn what_an_approver_of_a_surface_must_hold() {
    let of = |commands: &[&str], role| required_scopes(&list(commands), &device_authority(role));
    assert_eq!(of(&[], Role::Owner), list(&[PAIRING]));
    assert_eq!(of(&["ollama.chat"], Role::Member), list(&[PAIRING, WRITE]));
    for command in [
        "system.execApprovals.get",
        "browser.proxy.upload.v1",
        "fs.listDir",
        "file.fetch",
        "system.which",
    ] {
        assert_eq!(of(&[command], Role::Admin), list(&[PAIRING, ADMIN]), "{command}");
        let members = of(&[command], Role::Member);
        assert!(
            scopes::holds_all(&members, &device_authority(Role::Member)),
            "{command}"
        );
        assert!(!members.contains(&ADMIN.to_owned()), "{command}");
    }
}

#[tokio::test]
async fn exec_approvals_are_guarded_by_their_hash() {
    let (server, owner) = start().await;
    let config = &server.config;
    let empty = config.exec_approvals(&owner).await.expect("reads");
    assert_eq!(
        (&empty["exists"], &empty["file"]["version"]),
        (&json!(false), &json!(1))
    );
    let file = json!({"version": 1, "agents": {"main": {"security": "full"}}});
    let first = config
        .put_exec_approvals(&owner, file.clone(), None)
        .await
        .expect("writes");
    let hash = first["hash"].as_str().expect("a hash").to_owned();
    assert!(config.put_exec_approvals(&owner, file.clone(), None).await.is_err());
    assert!(
        config
            .put_exec_approvals(&owner, file.clone(), Some("stale"))
            .await
            .is_err()
    );
    assert!(
        config
            .put_exec_approvals(&owner, json!({"version": 2}), Some(&hash))
            .await
            .is_err()
    );
    for wrong in [
        json!({"version": 1, "agents": []}),
        json!({"version": 1, "defaults": {"security": 1}}),
        json!({"version": 1, "agents": {"main": {"allowlist": [{"id": "no pattern"}]}}}),
    ] {
        let refused = config
            .put_exec_approvals(&owner, wrong, Some(&hash))
            .await
            .expect_err("has no shape");
        assert!(refused.to_string().contains("at /file"), "{refused}");
    }
    let unbased = config
        .put_exec_approvals(&owner, file.clone(), None)
        .await
        .expect_err("needs a hash");
    assert!(unbased.to_string().contains("base hash required"), "{unbased}");
    // What nobody is shown stays when the file comes back without it.
    let with_token = json!({"version": 1, "socket": {"path": "/s", "token": "t0ken"}});
    let stored = config
        .put_exec_approvals(&owner, with_token, Some(&hash))
        .await
        .expect("writes");
    assert_eq!(stored["file"]["socket"], json!({"path": "/s"}));
    let hash = stored["hash"].as_str().expect("a hash").to_owned();
    let again = config
        .put_exec_approvals(&owner, stored["file"].clone(), Some(&hash))
        .await
        .expect("writes");
    assert_eq!(again["hash"], json!(hash), "nothing changed, the token neither");
    assert!(!again.to_string().contains("t0ken"));
    // Two writers with the same hash: one of them read something old.
    let other = server.another_process();
    let (one, two) = tokio::join!(
        config.put_exec_approvals(&owner, json!({"version": 1}), Some(&hash)),
        other.put_exec_approvals(&owner, json!({"version": 1, "agents": {}}), Some(&hash))
    );
    assert!(one.is_ok() ^ two.is_ok());
    let hash = config.exec_approvals(&owner).await.expect("reads")["hash"].take();
    let hash = hash.as_str().expect("a hash").to_owned();
    config
        .put_exec_approvals(&owner, json!({"version": 1}), Some(&hash))
        .await
        .expect("writes");
    assert_eq!(
        config.exec_approvals(&owner).await.expect("reads")["file"],
        json!({"version": 1, "socket": {}})
    );
}

#[tokio::test]
async fn thousands_of_requests_do_not_pile_up() {
    let (server, owner) = start().await;
    for number in 0..MOST_REQUESTS + SPARE_REQUESTS + 120 {
        required(&server, &owner, &claim(&format!("d{number}"), "operator", &[READ])).await;
    }
    let member = testing::user(&server.config, owner.tenant_scope(), "m@acme.test", Role::Member).await;
    let theirs = required(&server, &member, &claim("d", "operator", &[READ])).await;
    let pending = |listed: Value| -> Vec<String> {
        let rows = listed["pending"].as_array().expect("a list").iter();
        rows.map(|row| row["deviceId"].as_str().expect("an id").to_owned())
            .collect()
    };
    let kept = pending(server.config.list_devices(&owner, &[]).await.expect("lists"));
    assert_eq!(kept.len() as u64, MOST_REQUESTS);
    assert!(!kept.contains(&"d0".to_owned()), "the oldest make room");
    assert!(
        kept.contains(&format!("d{}", MOST_REQUESTS + SPARE_REQUESTS + 119)),
        "the newest is there"
    );
    let tx = server.config.db.read(&owner).await.expect("begins");
    let stored = device_request::Entity::owned_by(&owner)
        .count(&*tx)
        .await
        .expect("counts");
    // One in LOOKED_AT counts: in so many more one does.
    assert!(stored < MOST_REQUESTS + SPARE_REQUESTS + 100, "{stored} are stored");
    drop(tx);
    assert_eq!(
        pending(server.config.list_devices(&member, &[]).await.expect("lists")),
        ["d"]
    );
    approve(&server, &member, &theirs, &[ADMIN])
        .await
        .expect("theirs is untouched");
}

#[tokio::test]
async fn what_is_noted_late_moves_no_time_back_and_touches_no_revoked_token() {
    let (server, owner) = start().await;
    let config = &server.config;
    let request = required(&server, &owner, &claim("d1", "operator", &[READ])).await;
    approve(&server, &owner, &request, &[ADMIN]).await.expect("approves");
    let came = async |at: i64| {
        let tx = config.db.write(&owner).await.expect("begins");
        let mut batch = Batch::new(&tx);
        note_connected(&mut batch, &owner, "d1", "operator", at);
        batch.run(&tx).await.expect("writes");
        tx.commit().await.expect("commits");
    };
    let times = async || {
        let tx = config.db.read(&owner).await.expect("begins");
        let device = find_device(&*tx, &owner, "d1").await.expect("reads").expect("is there");
        let token = tokens::find(&*tx, &owner, "d1", "operator").await.expect("reads");
        tx.commit().await.expect("ends");
        (device.last_seen_at, token.expect("is there").last_used_at)
    };
    came(20).await;
    came(10).await;
    assert_eq!(times().await, (Some(20), Some(20)));
    config
        .revoke_device_token(&owner, "d1", "operator")
        .await
        .expect("revokes");
    came(30).await;
    assert_eq!(times().await, (Some(30), Some(20)));
}

#[tokio::test]
async fn what_another_machine_noted_of_a_node_later_stays() {
    let (server, owner) = start().await;
    let config = &server.config;
    let request = required(&server, &owner, &claim("n1", "node", &[])).await;
    approve(&server, &owner, &request, &[ADMIN]).await.expect("approves");
    config
        .declare_surface(&owner, &surface(&["system.run"]))
        .await
        .expect("notes");
    // A clock that is far ahead of this one.
    let ahead = now_ms() + 3_600_000;
    for at in [ahead + 20, ahead + 10] {
        let tx = config.db.write(&owner).await.expect("begins");
        let mut batch = Batch::new(&tx);
        note_connected(&mut batch, &owner, "n1", "node", at);
        surface::note_disconnected(&mut batch, &owner, "n1", at + 5);
        batch.run(&tx).await.expect("writes");
        tx.commit().await.expect("commits");
    }
    let times = async || {
        let node = config.node(&owner, "n1").await.expect("is there");
        let surface = node.surface.expect("was declared");
        (surface.last_connected_at, surface.last_disconnected_at)
    };
    let latest = (Some(ahead + 20), Some(ahead + 25));
    assert_eq!(times().await, latest);
    config
        .declare_surface(&owner, &surface(&["system.run", "system.which"]))
        .await
        .expect("notes");
    assert_eq!(times().await, latest, "a declaration is a connect as well");
}

/// Waits until a transaction of this database waits for another's rows.
async fn until_one_waits(server: &Server) {
    // Another role's waits are not shown in `pg_stat_activity`; its locks are.
    const WAITING: &str = "SELECT l.pid FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
                           WHERE NOT l.granted AND a.datname = current_database()";
    let looked = tokio::time::timeout(std::time::Duration::from_secs(20), async {
        loop {
            let tx = server.config.db.system_read().await.expect("begins");
            let waiting = sea_orm::Statement::from_string(sea_orm::DatabaseBackend::Postgres, WAITING);
            if tx.query_one_raw(waiting).await.expect("looks").is_some() {
                return;
            }
            tokio::task::yield_now().await;
        }
    });
    looked.await.expect("somebody waits");
}

#[tokio::test]
async fn a_node_that_comes_in_while_it_is_removed_is_no_deadlock() {
    let (server, owner) = start().await;
    let config = &server.config;
    let request = required(&server, &owner, &claim("n1", "node", &[])).await;
    approve(&server, &owner, &request, &[ADMIN]).await.expect("approves");
    config
        .declare_surface(&owner, &surface(&["system.run"]))
        .await
        .expect("notes");

    let tx = config.db.write(&owner).await.expect("begins");
    let postgres = tx.get_database_backend() == sea_orm::DatabaseBackend::Postgres;
    let device = device::Entity::update_owned(&owner)
        .filter(device::Column::Id.eq("n1"))
        .col_expr(device::Column::LastSeenAt, 1.into());
    device.exec(&*tx).await.expect("writes");
    let removing = async {
        config.remove_node(&owner, "n1").await.expect("removes");
    };
    let coming = async {
        if postgres {
            until_one_waits(&server).await;
        }
        let mut batch = Batch::new(&tx);
        note_connected(&mut batch, &owner, "n1", "node", 2);
        batch.run(&tx).await.expect("writes");
        tx.commit().await.expect("commits");
    };
    tokio::join!(removing, coming);
    assert!(config.node(&owner, "n1").await.is_err());
}
