//! A chat service: `cargo run`, and then
//! `curl -d '{"user": "ann", "persona": "helper", "message": "hi"}' -H 'content-type: application/json' localhost:8000/chat`
//!
//! It wants a Redis with the module: REDIS_URL, or else redis://127.0.0.1:6379. PORT is its own. The same in
//! Python, with a first level in the process's memory, streaming and metrics, is examples/chat_service.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, post};
use axum::{Json, Router};
use deadpool_redis::redis::{AsyncConnectionConfig, RedisError, cmd};
use deadpool_redis::{Connection, Manager, Pool, PoolError};
use serde::{Deserialize, Serialize};
use std::env::var;
use std::error::Error;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Time that one FETCH waits for another caller's response, and what Redis may take beyond that.
const WAIT: Duration = Duration::from_secs(2);
const REDIS_TIMEOUT: Duration = Duration::from_millis(500);

/// The model is given up before its lease (`chatcache.lease-ms`, 30 s) ends.
const MODEL_TIMEOUT: Duration = Duration::from_secs(25);

/// Time after its TTL in which a stale response is served while a new one is computed.
const STALE_MS: u64 = 600_000;

/// A request that waits and one that computes hold a connection each.
const CONNECTIONS: usize = 1_000;

#[derive(Clone, Deserialize)]
struct Question {
    user: String,
    persona: String,
    message: String,
}

impl Question {
    fn words(&self) -> [&str; 4] {
        ["response", &self.user, &self.persona, &self.message]
    }
}

#[derive(Serialize)]
struct Answer {
    answer: String,
    source: &'static str,
}

/// The reply of FETCH.
enum Fetched {
    Hit(String),
    Stale(String, Option<String>),
    Lease(String),
    Busy,
}

#[derive(Debug)]
struct ModelError;

async fn chat(State(pool): State<Pool>, Json(question): Json<Question>) -> Result<Json<Answer>, StatusCode> {
    // A task of its own: others may wait for the answer when this user has gone.
    let task = tokio::spawn(async move {
        match from_cache(&pool, &question).await {
            Ok(Some(answered)) => answered,
            Ok(None) => from_model(ask_the_model(&question).await),
            Err(error) => {
                eprintln!("Redis cannot help: {error}");
                from_model(ask_the_model(&question).await)
            }
        }
    });
    task.await.unwrap_or(Err(ModelError)).map(Json).map_err(|ModelError| StatusCode::BAD_GATEWAY)
}

/// From the cache, from whoever asks the model already, or from the model with a lease to do so; nothing if
/// somebody computes it for longer than anybody should wait.
async fn from_cache(
    pool: &Pool,
    question: &Question,
) -> Result<Option<Result<Answer, ModelError>>, PoolError> {
    // A connection for this request alone: a lease ends with the connection it was given to.
    let mut con = pool.get().await?;
    for _ in 0..10 {
        match fetch(&mut con, question).await? {
            Fetched::Hit(answer) => return Ok(Some(Ok(Answer { answer, source: "cache" }))),
            Fetched::Stale(answer, token) => {
                if let Some(token) = token {
                    // Ours to refresh; the user need not wait for it.
                    let question = question.clone();
                    tokio::spawn(async move { compute(con, &question, &token).await });
                }
                return Ok(Some(Ok(Answer { answer, source: "stale" })));
            }
            Fetched::Lease(token) => return Ok(Some(from_model(compute(con, question, &token).await))),
            Fetched::Busy => sleep(Duration::from_millis(50)).await,
        }
    }
    Ok(None)
}

async fn fetch(con: &mut Connection, question: &Question) -> Result<Fetched, RedisError> {
    let mut fetch = cmd("CHATCACHE.FETCH");
    fetch.arg(&question.words()).arg("WAIT").arg(WAIT.as_millis() as u64);
    type Reply = (String, Option<String>, Option<String>, Option<u64>);
    let (state, answer, token, _) = fetch.query_async::<Reply>(con).await?;
    Ok(match (state.as_str(), answer, token) {
        ("hit", Some(answer), _) => Fetched::Hit(answer),
        ("stale", Some(answer), token) => Fetched::Stale(answer, token),
        ("lease", _, Some(token)) => Fetched::Lease(token),
        _ => Fetched::Busy,
    })
}

/// Computes the answer that we hold the lease for, and stores it; gives the lease back if either fails.
async fn compute(mut con: Connection, question: &Question, token: &str) -> Result<String, ModelError> {
    let computed = ask_the_model(question).await;
    if let Ok(answer) = &computed {
        // Null if the lease is void by now, as when the persona's prompt has changed: nothing is stored.
        let mut set = cmd("CHATCACHE.SET");
        set.arg(&question.words()).arg(answer).arg("STALE").arg(STALE_MS).arg("TOKEN").arg(token);
        if let Err(error) = set.exec_async(&mut con).await {
            eprintln!("Redis has not stored it: {error}");
        }
    }
    // The next one who waits computes it. If it was stored the lease has ended already.
    let mut release = cmd("CHATCACHE.RELEASE");
    if let Err(error) = release.arg(&question.words()).arg("TOKEN").arg(token).exec_async(&mut con).await {
        eprintln!("Redis was not told: {error}");
    }
    computed
}

fn from_model(computed: Result<String, ModelError>) -> Result<Answer, ModelError> {
    computed.map(|answer| Answer { answer, source: "model" })
}

/// A stand-in: put the call of your model here.
async fn ask_the_model(question: &Question) -> Result<String, ModelError> {
    let model = async {
        sleep(Duration::from_millis(500)).await;
        match question.message.as_str() {
            "fail" => Err(ModelError),
            _ => Ok(format!("{} says: 42", question.persona)),
        }
    };
    timeout(MODEL_TIMEOUT, model).await.unwrap_or(Err(ModelError))
}

/// Drops answers, and says how many went; 503 if Redis could not be told.
async fn tell(pool: &Pool, command: &str, whose: Option<&str>) -> Result<String, StatusCode> {
    let told = async {
        let mut con = pool.get().await?;
        Ok::<u64, PoolError>(cmd(command).arg(whose).query_async(&mut con).await?)
    };
    told.await.map(|answers| answers.to_string()).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
}

async fn prompt_changed(State(pool): State<Pool>, Path(persona): Path<String>) -> Result<String, StatusCode> {
    tell(&pool, "CHATCACHE.INVALIDATE", Some(&persona)).await
}

async fn deployed(State(pool): State<Pool>) -> Result<String, StatusCode> {
    tell(&pool, "CHATCACHE.FLUSH", None).await
}

async fn forget(State(pool): State<Pool>, Path(user): Path<String>) -> Result<String, StatusCode> {
    tell(&pool, "CHATCACHE.FORGET", Some(&user)).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(REDIS_TIMEOUT))
        .set_response_timeout(Some(WAIT + REDIS_TIMEOUT));
    let pool = Pool::builder(Manager::new_with_config(url, config)?).max_size(CONNECTIONS).build()?;
    let routes = Router::new()
        .route("/chat", post(chat))
        .route("/personas/{name}/prompt", post(prompt_changed))
        .route("/deploy", post(deployed))
        .route("/users/{id}", delete(forget))
        .with_state(pool);
    let port = var("PORT").unwrap_or_else(|_| "8000".to_owned());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("listening on {}", listener.local_addr()?);
    Ok(axum::serve(listener, routes).await?)
}
