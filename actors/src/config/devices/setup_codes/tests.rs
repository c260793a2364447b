use super::*;
use crate::config::devices::{Paired, Pairing};
use crate::config::identity::Role;
use crate::config::testing::{self, Server};
use crate::gateway::scopes::{ADMIN, READ, WRITE};

const URL: &str = "wss://acme.test/gateway/ws";

fn claim(device_id: &str, role: &str) -> DeviceClaim {
    DeviceClaim {
        device_id: device_id.to_owned(),
        public_key: "key".to_owned(),
        display_name: Some("box".to_owned()),
        platform: "linux".to_owned(),
        device_family: "Linux".to_owned(),
        client_id: "node-host".to_owned(),
        client_mode: "node".to_owned(),
        role: role.to_owned(),
        scopes: Vec::new(),
    }
}

async fn start() -> (Server, Scope) {
    let server = testing::start().await;
    let owner = testing::owner(&server.config).await;
    (server, owner)
}

async fn make(config: &ConfigService, scope: &Scope, access: SetupAccess, creator: &[&str]) -> NewSetupCode {
    let creator: Vec<String> = creator.iter().map(|scope| (*scope).to_owned()).collect();
    config
        .create_setup_code(scope, access, URL, true, &creator)
        .await
        .expect("makes one")
}

async fn redeem(config: &ConfigService, tenant: &TenantScope, token: &Secret, device: &str) -> Option<Redeemed> {
    config
        .redeem_setup_code(tenant, token, &claim(device, "node"))
        .await
        .expect("the database answers")
}

async fn paired(config: &ConfigService, scope: &Scope, claim: &DeviceClaim) -> Option<Paired> {
    match config.check_pairing(scope, claim).await.expect("checks") {
        Pairing::Paired(paired) => Some(paired),
        Pairing::Required(_) => None,
    }
}

#[tokio::test]
async fn one_device_of_one_tenant_comes_in_once() {
    let (server, owner) = start().await;
    let config = &server.config;
    let beta = testing::tenant(config, "beta").await;
    let code = make(config, &owner, SetupAccess::Node, &[ADMIN]).await;
    assert!(redeem(config, &beta, &code.bootstrap, "d1").await.is_none());
    let as_operator = config
        .redeem_setup_code(owner.tenant_scope(), &code.bootstrap, &claim("d1", "operator"))
        .await;
    assert!(as_operator.expect("answers").is_none(), "it lets nodes in");
    assert_eq!(config.setup_status(&owner, &code.id).await.expect("reads"), None);
    let other = server.another_process();
    let (one, two) = tokio::join!(
        redeem(config, owner.tenant_scope(), &code.bootstrap, "d1"),
        redeem(&other, owner.tenant_scope(), &code.bootstrap, "d2"),
    );
    let redeemed = [&one, &two].into_iter().flatten().collect::<Vec<_>>();
    assert_eq!(redeemed.len(), 1, "it was there once");
    assert_eq!(redeemed[0].identity.user.scope, owner);
    let device = redeemed[0].completed["deviceId"].as_str().expect("an id").to_owned();
    assert!(paired(config, &owner, &claim(&device, "node")).await.is_some());
    assert!(paired(config, &owner, &claim(&device, "operator")).await.is_none());
    let status = config.setup_status(&owner, &code.id).await.expect("reads");
    assert_eq!(status.as_ref(), Some(&redeemed[0].completed));
    let colleague = testing::user(config, owner.tenant_scope(), "m@acme.test", Role::Owner).await;
    assert_eq!(config.setup_status(&colleague, &code.id).await.expect("reads"), None);
    assert!(
        redeem(config, owner.tenant_scope(), &code.bootstrap, "d3")
            .await
            .is_none()
    );
}

#[tokio::test]
async fn a_join_url_is_read_once_and_only_in_its_tenant() {
    let (server, owner) = start().await;
    let config = &server.config;
    let beta = testing::tenant(config, "beta").await;
    let code = make(config, &owner, SetupAccess::Node, &[ADMIN]).await;
    let join = code.join.expect("was asked for");
    assert_eq!(join.expose().len(), 22);
    assert!(config.fetch_join(beta.tenant(), &join).await.expect("reads").is_none());
    let other = server.another_process();
    let (one, two) = tokio::join!(
        config.fetch_join(owner.tenant(), &join),
        other.fetch_join(owner.tenant(), &join)
    );
    let given: Vec<JoinPayload> = [one, two].into_iter().filter_map(|one| one.expect("reads")).collect();
    assert_eq!(given.len(), 1);
    assert_eq!((given[0].url.as_str(), given[0].expires_at), (URL, code.expires_at));
    assert_eq!(given[0].bootstrap.expose(), code.bootstrap.expose());
    assert!(
        redeem(config, owner.tenant_scope(), &given[0].bootstrap, "d1")
            .await
            .is_some()
    );
    // A code that was used otherwise is no join URL any more.
    let spent = make(config, &owner, SetupAccess::Node, &[ADMIN]).await;
    redeem(config, owner.tenant_scope(), &spent.bootstrap, "d2").await;
    let join = spent.join.expect("was asked for");
    assert!(config.fetch_join(owner.tenant(), &join).await.expect("reads").is_none());
}

#[tokio::test]
async fn nothing_stored_opens_anything() {
    let (server, owner) = start().await;
    let code = make(&server.config, &owner, SetupAccess::Full, &[ADMIN]).await;
    let tx = server.db.read(&owner).await.expect("begins");
    let rows = setup_code::Entity::owned_by(&owner).all(&*tx).await.expect("reads");
    let stored = format!("{rows:?}");
    for secret in [&code.bootstrap, &code.join.expect("was asked for")] {
        assert!(!stored.contains(secret.expose()), "{stored}");
    }
}

#[tokio::test]
async fn a_code_dies_after_its_time() {
    let (server, owner) = start().await;
    let config = &server.config;
    let code = make(config, &owner, SetupAccess::Node, &[ADMIN]).await;
    let tx = config.db.write(&owner).await.expect("begins");
    setup_code::Entity::update_owned(&owner)
        .col_expr(setup_code::Column::ExpiresAt, Expr::value(now_ms()))
        .exec(&*tx)
        .await
        .expect("expires");
    tx.commit().await.expect("commits");
    assert!(
        redeem(config, owner.tenant_scope(), &code.bootstrap, "d1")
            .await
            .is_none()
    );
    let join = code.join.expect("was asked for");
    assert!(config.fetch_join(owner.tenant(), &join).await.expect("reads").is_none());
}

#[tokio::test]
async fn a_device_never_gets_more_than_its_creator_has() {
    let (server, owner) = start().await;
    let config = &server.config;
    let handed = async |device: &str| {
        let given = config.operator_handover(&owner, device).await.expect("reads");
        given.map(|given| strings(&given["scopes"]))
    };
    let phone = ["approvals", "questions", "read", "talk.secrets", "write"].map(|scope| format!("operator.{scope}"));
    for (device, access) in [
        ("node", SetupAccess::Node),
        ("limited", SetupAccess::Limited),
        ("full", SetupAccess::Full),
    ] {
        let code = make(config, &owner, access, &[ADMIN]).await;
        redeem(config, owner.tenant_scope(), &code.bootstrap, device)
            .await
            .expect("comes in");
    }
    assert_eq!(handed("node").await, None);
    assert_eq!(handed("limited").await, Some(phone.to_vec()));
    assert!(
        handed("full")
            .await
            .is_some_and(|scopes| scopes.contains(&ADMIN.to_owned()))
    );
    // A creator without admin makes nothing that works, whatever the code says.
    let weak = make(config, &owner, SetupAccess::Full, &[READ, WRITE]).await;
    assert!(
        redeem(config, owner.tenant_scope(), &weak.bootstrap, "weak")
            .await
            .is_none()
    );
    // What the creator lost in the meantime, the code lost too.
    let lost = make(config, &owner, SetupAccess::Full, &[ADMIN]).await;
    let other = testing::user(config, owner.tenant_scope(), "o@acme.test", Role::Owner).await;
    let theirs = make(config, &other, SetupAccess::Full, &[ADMIN]).await;
    config
        .set_role(owner.tenant_scope(), other.user(), Role::Member)
        .await
        .expect("changes");
    assert!(
        redeem(config, owner.tenant_scope(), &theirs.bootstrap, "theirs")
            .await
            .is_none()
    );
    assert!(
        redeem(config, owner.tenant_scope(), &lost.bootstrap, "mine")
            .await
            .is_some()
    );
}

#[tokio::test]
async fn a_member_brings_in_devices_of_their_own_with_all_they_have_themselves() {
    let (server, owner) = start().await;
    let config = &server.config;
    let member = testing::user(config, owner.tenant_scope(), "m@acme.test", Role::Member).await;
    let all = device_authority(Role::Member);
    let creator: Vec<&str> = all.iter().map(String::as_str).collect();
    let narrow: Vec<&str> = creator.iter().copied().filter(|scope| *scope != WRITE).collect();
    let weak = make(config, &member, SetupAccess::Node, &narrow).await;
    assert!(
        redeem(config, owner.tenant_scope(), &weak.bootstrap, "weak")
            .await
            .is_none()
    );
    let code = make(config, &member, SetupAccess::Full, &creator).await;
    let came = redeem(config, owner.tenant_scope(), &code.bootstrap, "d1")
        .await
        .expect("comes in");
    assert_eq!(came.identity.user.scope, member);
    assert!(paired(config, &member, &claim("d1", "node")).await.is_some());
    let handed = config.operator_handover(&member, "d1").await.expect("reads");
    let handed = strings(&handed.expect("a phone is an operator too")["scopes"]);
    assert!(scopes::holds_all(&handed, &all), "{handed:?}");
    assert!(!handed.contains(&ADMIN.to_owned()));
    assert!(
        paired(config, &owner, &claim("d1", "node")).await.is_none(),
        "theirs alone"
    );
}

#[tokio::test]
async fn a_revoked_credential_leaves_no_code_behind() {
    let (server, owner) = start().await;
    let config = &server.config;
    let (token, _) = config
        .create_api_token(&owner, "stolen", None)
        .await
        .expect("makes a token");
    let code = make(config, &owner, SetupAccess::Full, &[ADMIN]).await;
    config.revoke_api_token(&owner, &token.id).await.expect("revokes");
    assert!(
        redeem(config, owner.tenant_scope(), &code.bootstrap, "d1")
            .await
            .is_none()
    );
    assert!(paired(config, &owner, &claim("d1", "node")).await.is_none());
}

#[tokio::test]
async fn codes_are_few_and_the_oldest_that_are_over_go() {
    let (server, owner) = start().await;
    let config = &server.config;
    let colleague = testing::user(config, owner.tenant_scope(), "m@acme.test", Role::Admin).await;
    let rows = async || {
        let tx = server.db.read(&owner).await.expect("begins");
        let all = setup_code::Entity::owned_by(&owner).all(&*tx).await.expect("reads");
        tx.commit().await.expect("ends");
        all
    };
    let end_all = async |at: i64| {
        let tx = server.db.write(&owner).await.expect("begins");
        setup_code::Entity::update_owned(&owner)
            .filter(setup_code::Column::UsedAt.is_null())
            .col_expr(setup_code::Column::UsedAt, Expr::value(at))
            .col_expr(setup_code::Column::CreatedAt, Expr::value(at))
            .exec(&*tx)
            .await
            .expect("writes");
        tx.commit().await.expect("ends");
    };
    for _ in 0..MOST_OPEN {
        make(config, &owner, SetupAccess::Node, &[ADMIN]).await;
    }
    let creator = [ADMIN.to_owned()];
    let more = config
        .create_setup_code(&owner, SetupAccess::Node, URL, true, &creator)
        .await;
    assert!(matches!(more, Err(Error::Busy { .. })));
    make(config, &colleague, SetupAccess::Node, &[ADMIN]).await;
    for round in 0..4 {
        end_all(round).await;
        for _ in 0..MOST_OPEN {
            make(config, &owner, SetupAccess::Node, &[ADMIN]).await;
        }
    }
    let kept = rows().await;
    assert!(kept.len() as u64 <= MOST_KNOWN + MOST_OPEN, "{}", kept.len());
    assert!(kept.iter().all(|row| row.used_at != Some(0)), "the oldest are gone");
    assert_eq!(
        kept.iter().filter(|row| row.used_at.is_none()).count() as u64,
        MOST_OPEN
    );
}
