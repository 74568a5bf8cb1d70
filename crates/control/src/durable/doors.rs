//! The seam: what the frontend may ask of executions.

use super::facts::Text;
use super::index::Part;
use super::service::Executions;
use super::show::{self, Times};
use super::tables::Status;
use super::updates::Update;
use super::{callback_id, checkpoint};
use async_trait::async_trait;
use lamplight_model::{FunctionArn, Scope};
use lamplight_rpc::{
    CallbackAnswer, DurableError, DurableExecutions, ErrorObject, ExecutionArn, ExecutionFilter,
    ExecutionPage, Finished, NewExecution, PauseRequest,
};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// How an execution is read for somebody who wants to know of its end.
enum End {
    Reached(Finished),
    Awaited(tokio::sync::oneshot::Receiver<Finished>),
}

#[async_trait]
impl DurableExecutions for Executions {
    async fn start(&self, new: NewExecution) -> Result<ExecutionArn, DurableError> {
        self.core.start(new).await
    }

    async fn finished(&self, arn: &ExecutionArn) -> Result<Finished, DurableError> {
        let core = Arc::clone(&self.core);
        let end = self.core.view(arn, move |machine, _| match machine.finished() {
            Some(finished) => End::Reached(finished),
            None => End::Awaited(core.wait_for(&machine.arn.id)),
        });
        match end.await? {
            End::Reached(finished) => Ok(finished),
            End::Awaited(end) => end.await.map_err(|_| DurableError::NotFound),
        }
    }

    async fn checkpoint(
        &self,
        arn: &ExecutionArn,
        token: &str,
        client_token: Option<String>,
        updates: Vec<Value>,
    ) -> Result<Map<String, Value>, DurableError> {
        let updates: Option<Vec<Update>> = updates.iter().map(Update::read).collect();
        let unknown = || DurableError::Invalid("Unknown operation type.".to_owned());
        let updates = updates.ok_or_else(unknown)?;
        let (core, asked) = (Arc::clone(&self.core), token.to_owned());
        let (token, again) = (asked.clone(), client_token.clone());
        let decided = self.core.act(
            arn,
            move |machine, now| {
                if machine.replayed(&asked, again.as_deref()).is_some() {
                    return Ok(Vec::new());
                }
                machine.check_token(&asked)?;
                if !core.has_room() {
                    return Err(DurableError::Throttled);
                }
                let resolve = |target: &_| core.resolve(&machine.arn, target);
                machine.checkpoint(&updates, now, &resolve)
            },
            move |machine, _| {
                let replayed = machine.replayed(&token, client_token.as_deref());
                replayed.unwrap_or_else(|| machine.answer(&token, client_token))
            },
        );
        // AWS: whoever has no token for an execution is not told that there is none.
        match decided.await {
            Err(DurableError::NotFound) => {
                Err(DurableError::Invalid(super::machine::INVALID_TOKEN.to_owned()))
            }
            decided => decided,
        }
    }

    async fn state(
        &self,
        arn: &ExecutionArn,
        token: &str,
        page: ExecutionPage,
    ) -> Result<Map<String, Value>, DurableError> {
        let from = show::marker(page.marker.as_deref())?;
        let (max, token) = (show::page_size(page.max), token.to_owned());
        let shown = self.core.act(
            arn,
            move |machine, _| machine.check_token(&token).map(|()| Vec::new()),
            move |machine, _| show::state(machine, from, max, Times::Seconds),
        );
        let (operations, next) = match shown.await {
            Err(DurableError::NotFound) => {
                return Err(DurableError::Invalid(super::machine::INVALID_TOKEN.to_owned()));
            }
            shown => shown?,
        };
        let mut members = Map::new();
        members.insert("Operations".to_owned(), Value::Array(operations));
        if let Some(next) = next {
            members.insert("NextMarker".to_owned(), json!(next));
        }
        Ok(members)
    }

    async fn get(
        &self,
        arn: &ExecutionArn,
        data: bool,
    ) -> Result<Map<String, Value>, DurableError> {
        self.core.view(arn, move |machine, _| show::execution(machine, data)).await
    }

    async fn history(
        &self,
        arn: &ExecutionArn,
        page: ExecutionPage,
        data: bool,
    ) -> Result<Map<String, Value>, DurableError> {
        self.core.view(arn, move |machine, _| super::history::page(machine, &page, data)).await?
    }

    fn list(
        &self,
        function: &FunctionArn,
        filter: &ExecutionFilter,
        page: &ExecutionPage,
    ) -> Result<Map<String, Value>, DurableError> {
        let invalid = || DurableError::Invalid("Invalid Marker".to_owned());
        let place = |marker: &String| -> Option<(i64, Text)> {
            let (started, id) = marker.split_once(':')?;
            Some((started.parse().ok()?, id.into()))
        };
        let after = page.marker.as_ref().filter(|marker| !marker.is_empty());
        let after = after.map(|marker| place(marker).ok_or_else(invalid)).transpose()?;
        let index = self.core.index();
        let part =
            Part { after: after.as_ref(), reverse: page.reverse, max: show::page_size(page.max) };
        let (listed, next) = index.list(function, filter, &part);
        let shown = listed.iter().map(|(arn, head)| show::summary(arn, head)).collect();
        let mut members = Map::new();
        members.insert("DurableExecutions".to_owned(), Value::Array(shown));
        if let Some((started, id)) = next {
            members.insert("NextMarker".to_owned(), json!(format!("{started}:{id}")));
        }
        Ok(members)
    }

    async fn stop(
        &self,
        arn: &ExecutionArn,
        error: Option<ErrorObject>,
    ) -> Result<i64, DurableError> {
        check_size(error.as_ref())?;
        let stopped = self.core.act(
            arn,
            move |machine, _| Ok(machine.stop(error)),
            |machine, now| machine.head.ended.unwrap_or(now),
        );
        stopped.await
    }

    async fn pause(&self, arn: &ExecutionArn, request: PauseRequest) -> Result<(), DurableError> {
        self.core.act(arn, move |machine, _| machine.pause(&request), |_, _| ()).await
    }

    async fn resume(&self, arn: &ExecutionArn, request: PauseRequest) -> Result<(), DurableError> {
        self.core.act(arn, move |machine, _| machine.resume(&request), |_, _| ()).await
    }

    async fn delete(&self, arn: &ExecutionArn) -> Result<(), DurableError> {
        match self.core.view(arn, |machine, _| machine.status()).await? {
            // It is on its way.
            Status::Deleting => Ok(()),
            status if status.is_open() => Err(DurableError::Conflict(format!(
                "The durable execution cannot be deleted in its status {}.",
                status.name()
            ))),
            _ => self.core.doom(arn).await,
        }
    }

    async fn callback(
        &self,
        scope: &Scope,
        id: &str,
        answer: CallbackAnswer,
    ) -> Result<(), DurableError> {
        let invalid = || DurableError::Invalid("Invalid callback id".to_owned());
        let (arn, operation) = callback_id::read(id).ok_or_else(invalid)?;
        if arn.function.scope != *scope {
            return Err(DurableError::CallbackClosed);
        }
        if let CallbackAnswer::Failure(error) = &answer {
            check_size(error.as_ref())?;
        }
        let answered =
            self.core.act(&arn, move |machine, _| machine.callback(&operation, &answer), |_, _| ());
        match answered.await {
            Err(DurableError::NotFound) => Err(DurableError::CallbackClosed),
            answered => answered,
        }
    }

    fn callback_arn(&self, id: &str) -> Option<ExecutionArn> {
        Some(callback_id::read(id)?.0)
    }

    async fn forget(&self, function: &FunctionArn) -> Result<(), DurableError> {
        let all = self.core.index().of_function(function);
        let mut first = Ok(());
        for arn in all {
            let open =
                self.core.index().get(&arn.id).is_some_and(|(_, head)| head.status.is_open());
            // One that cannot be stopped is removed all the same, and keeps no other from it.
            if open && let Err(error) = self.stop(&arn, None).await {
                tracing::warn!(%arn, %error, "an execution is removed that cannot be stopped");
            }
            match self.core.doom(&arn).await {
                Err(error) if error != DurableError::NotFound => first = first.and(Err(error)),
                _ => {}
            }
        }
        first
    }
}

fn check_size(error: Option<&ErrorObject>) -> Result<(), DurableError> {
    let most = checkpoint::PAYLOAD;
    match error.is_some_and(|error| error.bytes() > most) {
        true => {
            Err(DurableError::Invalid(format!("Error object size must be less than {most} bytes.")))
        }
        false => Ok(()),
    }
}
