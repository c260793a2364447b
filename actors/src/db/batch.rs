//! Several writes of one transaction in one round trip.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryTrait, Statement, Value};

use super::Transaction;

/// Writes that need not see each other's results, in order.
///
/// The driver's SQLite connection gets them as one text: each round trip to its thread costs more than a small statement
/// does. PostgreSQL takes one parametrised statement at a time, and on the committing thread there is no round trip.
#[derive(Debug)]
pub struct Batch {
    backend: DbBackend,
    statements: Vec<Statement>,
}

impl Batch {
    pub fn new(tx: &Transaction) -> Self {
        Self {
            backend: tx.get_database_backend(),
            statements: Vec::new(),
        }
    }

    /// For what the two databases spell differently.
    pub fn backend(&self) -> DbBackend {
        self.backend
    }

    pub fn add(&mut self, query: &impl QueryTrait) {
        self.statements.push(query.build(self.backend));
    }

    /// One that no builder writes.
    pub(crate) fn add_statement(&mut self, statement: Statement) {
        self.statements.push(statement);
    }

    /// Runs them. Gives how many rows all of them touched.
    pub async fn run(self, tx: &Transaction) -> Result<u64, DbErr> {
        if let Transaction::Direct(direct) = tx {
            return self.statements.iter().map(|statement| direct.run(statement)).sum();
        }
        if self.backend != DbBackend::Sqlite {
            let mut touched = 0;
            for statement in self.statements {
                touched += tx.execute_raw(statement).await?.rows_affected();
            }
            return Ok(touched);
        }
        let mut sql = String::new();
        let mut values: Vec<Value> = Vec::new();
        for statement in self.statements {
            if !sql.is_empty() {
                sql.push_str("; ");
            }
            // Its marks are plain `?`: they count on through the whole text.
            sql.push_str(&statement.sql);
            values.extend(statement.values.into_iter().flat_map(|values| values.0));
        }
        if sql.is_empty() {
            return Ok(0);
        }
        let all = Statement::from_sql_and_values(DbBackend::Sqlite, sql, values);
        Ok(tx.execute_raw(all).await?.rows_affected())
    }
}
