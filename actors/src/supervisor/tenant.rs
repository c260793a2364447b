//! `TenantActor`: one per active tenant. Routes to its users, puts them to sleep, replaces crashed ones.

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler};
use claw_entities::{Scope, TenantId, UserId};

use super::children::Children;
use super::directory::Directory;
use super::messages::{ToSession, ToTenant, ToUser, Whom};
use super::user::UserActor;

pub(crate) struct TenantActor {
    directory: Directory,
    tenant: TenantId,
    users: Children<UserId, UserActor>,
    /// Messages handled; what `Directory::release` compares.
    seen: u64,
    /// The value of `seen` when the idle timer was last looked at.
    seen_at_check: u64,
}

impl TenantActor {
    pub(crate) fn new(directory: Directory, tenant: TenantId) -> Self {
        Self {
            directory,
            tenant,
            users: Children::default(),
            seen: 0,
            seen_at_check: 0,
        }
    }

    fn forward(&mut self, context: &mut Context<Self>, user: UserId, message: ToUser) {
        let start = || {
            let scope = Scope::vouch(self.tenant.clone(), user.clone());
            let (directory, parent) = (self.directory.clone(), context.address());
            let mailbox = directory.services().limits.mailbox;
            self.directory
                .placement()
                .spawn((&self.tenant, &user), mailbox, move |_| {
                    UserActor::new(directory, scope, parent)
                })
        };
        if self.users.forward(&user, start, message).is_err() {
            // The message is dropped and its reply channel with it: the asker reads that as busy. A lost hint is
            // found by recovery.
            metrics::counter!("claw_mailbox_full_total", "actor" => "user").increment(1);
        }
    }
}

impl Actor for TenantActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let idle = self.directory.services().limits.user_idle;
        context.run_interval(idle, |this, context| {
            if this.users.len() == 0
                && this.seen == this.seen_at_check
                && this.directory.release(&this.tenant, this.seen)
            {
                context.stop();
            }
            this.seen_at_check = this.seen;
        });
    }
}

fn lock(user: &Addr<UserActor>) {
    #[expect(
        clippy::disallowed_methods,
        reason = "the last note to an actor that ends with it: one per lock-out, even when its mailbox is full"
    )]
    user.do_send(ToUser::Lock);
}

impl Handler<ToTenant> for TenantActor {
    type Result = ();

    fn handle(&mut self, message: ToTenant, context: &mut Self::Context) {
        match message {
            ToTenant::User { user, mut message } => {
                self.seen += 1;
                if let ToUser::Session {
                    message: ToSession::Wake(waking),
                    ..
                } = &mut message
                {
                    waking.heard_by("tenant");
                }
                if matches!(message, ToUser::Detach { .. }) {
                    // Who sleeps has no connections.
                    let _ = self.users.tell(&user, message);
                } else {
                    self.forward(context, user, message);
                }
            }
            ToTenant::All(what) => {
                self.seen += 1;
                for user in self.users.addresses() {
                    let _ = user.try_send(ToUser::All(what));
                }
            }
            ToTenant::Lock(whom) => {
                self.seen += 1;
                match whom {
                    Whom::Everybody => self.users.addresses().for_each(lock),
                    Whom::One(user) => self.users.address(&user).into_iter().for_each(lock),
                }
            }
            ToTenant::UserIdle { user, seen } => {
                if let Some(address) = self.users.release(&user, seen) {
                    metrics::counter!("claw_passivations_total", "actor" => "user").increment(1);
                    let _ = address.try_send(ToUser::Passivate);
                }
            }
            ToTenant::UserGone { user, panicked } => {
                if panicked {
                    tracing::error!(tenant.id = %self.tenant, user.id = %user, "user actor panicked");
                    metrics::counter!("claw_actor_crashes_total", "actor" => "user").increment(1);
                }
                self.users.forget_dead(&user);
            }
        }
    }
}
