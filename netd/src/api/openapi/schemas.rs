//! The schemas of what is sent and answered, derived from the types that are read and written.

use schemars::Schema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::transform::{Transform, transform_subschemas};
use serde_json::{Map, Value};

/// Returns the schema of a type: [`SchemaGenerator::subschema_for`] of it.
pub(super) type Described = fn(&mut SchemaGenerator) -> Schema;

/// Collects schemas by name.
pub(super) struct Schemas {
    /// Of bodies: what may be left out, and what it means then.
    sent: SchemaGenerator,
    /// Of answers: what is always there.
    answered: SchemaGenerator,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        Self {
            sent: settings.clone().for_deserialize().into_generator(),
            answered: settings.for_serialize().into_generator(),
        }
    }

    /// Returns the schema of a body, or a reference to it.
    pub(super) fn sent(&mut self, described: Described) -> Schema {
        finished(described(&mut self.sent), Way::Sent)
    }

    /// Returns the schema of an answer, or a reference to it.
    pub(super) fn answered(&mut self, described: Described) -> Schema {
        finished(described(&mut self.answered), Way::Answered)
    }

    /// Returns every schema that is referred to, by name. A type that goes both ways is described as it may be sent.
    pub(super) fn collected(mut self) -> Map<String, Value> {
        let all = |definitions: Map<String, Value>, way| {
            definitions.into_iter().map(move |(name, schema)| {
                let schema = Schema::try_from(schema).map(|schema| finished(schema, way).to_value());
                (name, schema.unwrap_or_default())
            })
        };
        let mut collected: Map<_, _> = all(self.answered.take_definitions(false), Way::Answered).collect();
        collected.extend(all(self.sent.take_definitions(false), Way::Sent));
        collected
    }
}

fn finished(mut schema: Schema, mut way: Way) -> Schema {
    way.transform(&mut schema);
    schema
}

/// Which way something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Sent,
    Answered,
}

impl Transform for Way {
    /// Leaves out what says nothing, and says the rest as everybody reads it.
    fn transform(&mut self, schema: &mut Schema) {
        match self {
            Self::Sent if schema.get("default").is_some_and(Value::is_null) => {
                schema.remove("default");
            }
            Self::Sent => {}
            Self::Answered => {
                schema.remove("default");
                leave_out_nulls(schema);
            }
        }
        if let Some(Value::String(text)) = schema.get_mut("description") {
            *text = unwrapped(text);
        }
        // What `usize` is called stands in no registry of formats.
        if schema.get("format").is_some_and(|format| format == "uint") {
            schema.insert("format".to_owned(), "uint64".into());
        }
        list_words(schema);
        transform_subschemas(self, schema);
    }
}

/// Takes null from members of an answer that need not be there: they are left out where they would be null. Where
/// `required` is there and empty, members are left out for another reason.
fn leave_out_nulls(schema: &mut Schema) {
    let required = schema.get("required").and_then(Value::as_array).cloned();
    let is_by_choice = required.as_ref().is_some_and(Vec::is_empty);
    let required = required.unwrap_or_default();
    let is_required = |name: &str| is_by_choice || required.iter().any(|one| one == name);
    if let Some(Value::Object(members)) = schema.get_mut("properties") {
        members.iter_mut().filter(|(name, _)| !is_required(name)).for_each(|(_, member)| never_null(member));
    }
}

/// Makes a choice of single words one list of words, which every generator of clients knows as an enumeration, and says
/// below its description what each word means.
fn list_words(schema: &mut Schema) {
    let Some(choices) = schema.get("oneOf").and_then(Value::as_array) else { return };
    let words_of = |choice: &Value| match (&choice["const"], &choice["enum"]) {
        (Value::String(word), _) => Some(vec![word.clone()]),
        (_, Value::Array(words)) => words.iter().map(|word| word.as_str().map(str::to_owned)).collect(),
        _ => None,
    };
    let Some(words) = choices.iter().map(words_of).collect::<Option<Vec<_>>>() else { return };
    let meanings = choices.iter().zip(&words).filter_map(|(choice, words)| {
        let meaning = unwrapped(choice["description"].as_str()?);
        Some(format!("- `{}`: {meaning}", words.join("`, `")))
    });
    let meanings = meanings.collect::<Vec<_>>().join("\n");
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let text = [text, &meanings].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n");
    schema.remove("oneOf");
    schema.insert("type".to_owned(), "string".into());
    schema.insert("enum".to_owned(), words.concat().into());
    schema.insert("description".to_owned(), text.into());
}

/// Joins the lines of a paragraph.
fn unwrapped(text: &str) -> String {
    text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect::<Vec<_>>().join("\n\n")
}

/// Takes null from what a schema allows.
fn never_null(schema: &mut Value) {
    let Value::Object(schema) = schema else { return };
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|one| one != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            schema.insert("type".to_owned(), one);
        }
    }
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    let Some(Value::Array(choices)) = schema.get_mut("anyOf") else { return };
    choices.retain(|choice| choice["type"] != "null");
    if let [Value::Object(one)] = choices.as_slice() {
        let one = one.clone();
        schema.remove("anyOf");
        schema.extend(one);
    }
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    use super::*;
    use crate::api::openapi::operations::{self, Answer, Body};

    /// Something with
    /// two lines.
    #[derive(Deserialize, Serialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Thing {
        always: Option<u8>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sometimes: Option<Other>,
        #[serde(default)]
        counted: u8,
    }

    #[derive(Default, Deserialize, Serialize, JsonSchema)]
    struct Other {
        word: Word,
    }

    /// A word.
    #[derive(Default, Deserialize, Serialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    enum Word {
        #[default]
        One,
        /// Beside
        /// the one.
        Other,
    }

    fn collected(describe: fn(&mut Schemas) -> Schema) -> Map<String, Value> {
        let mut schemas = Schemas::new();
        assert_eq!(describe(&mut schemas).get("$ref").unwrap(), "#/components/schemas/Thing");
        schemas.collected()
    }

    #[test]
    fn words_are_one_list_that_says_what_each_means() {
        let schemas = collected(|schemas| schemas.answered(SchemaGenerator::subschema_for::<Thing>));

        assert_eq!(
            schemas["Word"],
            json!({"type": "string", "enum": ["one", "other"], "description": "A word.\n\n- `other`: Beside the one."})
        );
    }

    #[test]
    fn an_answer_says_what_is_always_there_and_where_null_is() {
        let schemas = collected(|schemas| schemas.answered(SchemaGenerator::subschema_for::<Thing>));
        let schema = &schemas["Thing"];

        assert_eq!(schema["description"], "Something with two lines.");
        assert_eq!(schema["required"], json!(["always", "counted"]));
        assert_eq!(schema["properties"]["always"]["type"], json!(["integer", "null"]));
        assert_eq!(schema["properties"]["sometimes"], json!({"$ref": "#/components/schemas/Other"}));
        assert!(schema["properties"]["counted"].get("default").is_none());
    }

    #[test]
    fn a_body_says_what_may_be_left_out_and_what_it_means_then() {
        let schemas = collected(|schemas| schemas.sent(SchemaGenerator::subschema_for::<Thing>));
        let schema = &schemas["Thing"];

        assert_eq!(schema.get("required"), None);
        assert_eq!(schema["properties"]["counted"]["default"], 0);
        assert!(schema["properties"]["sometimes"]["anyOf"].is_array());
        assert_eq!(schema["additionalProperties"], false);
    }

    #[test]
    fn a_name_stands_for_one_type() {
        let mut schemas = Schemas::new();
        for operation in operations::all() {
            if let Body::Json(described) = operation.body {
                schemas.sent(described);
            }
            if let Answer::Json(described) | Answer::Stream(described) = operation.answer {
                schemas.answered(described);
            }
        }
        let members =
            |schema: &Value| schema["properties"].as_object().map(|all| all.keys().cloned().collect::<Vec<_>>());
        let mut both = 0;
        for (name, sent) in schemas.sent.definitions() {
            assert!(!name.ends_with(|last: char| last.is_ascii_digit()), "{name}: two types are called that");
            if let Some(answered) = schemas.answered.definitions().get(name) {
                assert_eq!(sent["description"], answered["description"], "{name}");
                assert_eq!(members(sent), members(answered), "{name}");
                both += 1;
            }
        }
        for name in schemas.answered.definitions().keys() {
            assert!(!name.ends_with(|last: char| last.is_ascii_digit()), "{name}: two types are called that");
        }
        assert!(both > 2, "{both}");
    }
}
