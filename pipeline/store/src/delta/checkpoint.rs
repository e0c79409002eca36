//! Checkpoints: the state of the table in one Parquet file, so that readers need not replay the log
//! from its beginning. Written with the columns that the protocol names; read leniently, by name, so
//! that checkpoints of other engines with more columns are understood.

use super::actions::{Action, Add, Format, Metadata, Protocol, Remove, Txn};
use crate::directory::Directory;
use crate::error::StoreError;
use arrow_array::builder::{
    BooleanBuilder, Int32Builder, Int64Builder, ListBuilder, MapBuilder, MapFieldNames,
    StringBuilder,
};
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, RecordBatch, StructArray};
use arrow_buffer::NullBuffer;
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Writes `actions` as a checkpoint file.
pub(super) fn write(
    directory: &Directory,
    path: &str,
    actions: &[Action],
) -> Result<(), StoreError> {
    let batch = to_batch(actions)?;
    let failed = |error| StoreError::parquet(&directory.path(path), error);
    let properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(Default::default())).build();
    let mut bytes = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).map_err(failed)?;
    writer.write(&batch).map_err(failed)?;
    writer.close().map_err(failed)?;
    directory.replace(path, &bytes)
}

/// Reads a checkpoint file, or one part of one.
pub(super) fn read(directory: &Directory, path: &str) -> Result<Vec<Action>, StoreError> {
    let file = directory.open(path)?;
    let of_checkpoint = directory.path(path);
    let mut reader = StoreError::of_parquet(&of_checkpoint, || {
        ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build())
    })?;
    let mut next = || reader.next().transpose().map_err(ParquetError::from);
    let mut actions = Vec::new();
    while let Some(batch) = StoreError::of_parquet(&of_checkpoint, &mut next)? {
        for row in 0..batch.num_rows() {
            actions.push(action_at(&batch, row).map_err(|column| {
                StoreError::damaged(
                    &of_checkpoint,
                    format!("`{column}` is missing in row {row} of the checkpoint"),
                )
            })?);
        }
    }
    Ok(actions)
}

fn to_batch(actions: &[Action]) -> Result<RecordBatch, ArrowError> {
    let columns: [(&str, StructArray); 5] = [
        ("protocol", protocols(actions)?),
        ("metaData", metadata(actions)?),
        ("txn", txns(actions)?),
        ("add", adds(actions)?),
        ("remove", removes(actions)?),
    ];
    let fields: Fields = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
        .collect();
    let arrays = columns.into_iter().map(|(_, array)| Arc::new(array) as ArrayRef).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
}

/// A struct column of which only some rows are there.
fn structure(
    present: Vec<bool>,
    members: Vec<(&str, ArrayRef)>,
) -> Result<StructArray, ArrowError> {
    let fields: Fields = members
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
        .collect();
    let arrays = members.into_iter().map(|(_, array)| array).collect();
    StructArray::try_new(fields, arrays, Some(NullBuffer::from(present)))
}

fn texts<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    let mut builder = StringBuilder::new();
    values.for_each(|value| builder.append_option(value));
    Arc::new(builder.finish())
}

fn longs(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    let mut builder = Int64Builder::new();
    values.for_each(|value| builder.append_option(value));
    Arc::new(builder.finish())
}

fn ints(values: impl Iterator<Item = Option<i32>>) -> ArrayRef {
    let mut builder = Int32Builder::new();
    values.for_each(|value| builder.append_option(value));
    Arc::new(builder.finish())
}

fn booleans(values: impl Iterator<Item = Option<bool>>) -> ArrayRef {
    let mut builder = BooleanBuilder::new();
    values.for_each(|value| builder.append_option(value));
    Arc::new(builder.finish())
}

fn map_builder() -> MapBuilder<StringBuilder, StringBuilder> {
    let names = MapFieldNames {
        entry: "key_value".to_owned(),
        key: "key".to_owned(),
        value: "value".to_owned(),
    };
    MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new())
}

fn maps<'a>(
    values: impl Iterator<Item = Option<Vec<(&'a str, Option<&'a str>)>>>,
) -> Result<ArrayRef, ArrowError> {
    let mut builder = map_builder();
    for value in values {
        let present = value.is_some();
        for (key, value) in value.into_iter().flatten() {
            builder.keys().append_value(key);
            builder.values().append_option(value);
        }
        builder.append(present)?;
    }
    Ok(Arc::new(builder.finish()))
}

fn settings(map: &BTreeMap<String, String>) -> Vec<(&str, Option<&str>)> {
    map.iter().map(|(key, value)| (key.as_str(), Some(value.as_str()))).collect()
}

fn protocols(actions: &[Action]) -> Result<StructArray, ArrowError> {
    let each = || actions.iter().map(|action| action.protocol.as_ref());
    structure(
        each().map(|p| p.is_some()).collect(),
        vec![
            ("minReaderVersion", ints(each().map(|p| p.map(|p| p.min_reader_version)))),
            ("minWriterVersion", ints(each().map(|p| p.map(|p| p.min_writer_version)))),
        ],
    )
}

fn metadata(actions: &[Action]) -> Result<StructArray, ArrowError> {
    let each = || actions.iter().map(|action| action.metadata.as_ref());
    let present: Vec<bool> = each().map(|m| m.is_some()).collect();
    let format = structure(
        present.clone(),
        vec![
            ("provider", texts(each().map(|m| m.map(|m| m.format.provider.as_str())))),
            ("options", maps(each().map(|m| m.map(|m| settings(&m.format.options))))?),
        ],
    )?;
    let mut partitions = ListBuilder::new(StringBuilder::new()).with_field(Arc::new(Field::new(
        "element",
        DataType::Utf8,
        true,
    )));
    for metadata in each() {
        for column in metadata.iter().flat_map(|m| &m.partition_columns) {
            partitions.values().append_value(column);
        }
        partitions.append(metadata.is_some());
    }
    structure(
        present,
        vec![
            ("id", texts(each().map(|m| m.map(|m| m.id.as_str())))),
            ("name", texts(each().map(|m| m.and_then(|m| m.name.as_deref())))),
            ("description", texts(each().map(|m| m.and_then(|m| m.description.as_deref())))),
            ("format", Arc::new(format)),
            ("schemaString", texts(each().map(|m| m.map(|m| m.schema_string.as_str())))),
            ("partitionColumns", Arc::new(partitions.finish())),
            ("createdTime", longs(each().map(|m| m.and_then(|m| m.created_time)))),
            ("configuration", maps(each().map(|m| m.map(|m| settings(&m.configuration))))?),
        ],
    )
}

fn txns(actions: &[Action]) -> Result<StructArray, ArrowError> {
    let each = || actions.iter().map(|action| action.txn.as_ref());
    structure(
        each().map(|t| t.is_some()).collect(),
        vec![
            ("appId", texts(each().map(|t| t.map(|t| t.app_id.as_str())))),
            ("version", longs(each().map(|t| t.map(|t| t.version)))),
            ("lastUpdated", longs(each().map(|t| t.and_then(|t| t.last_updated)))),
        ],
    )
}

fn adds(actions: &[Action]) -> Result<StructArray, ArrowError> {
    let each = || actions.iter().map(|action| action.add.as_ref());
    let partition_values = |add: &Add| -> Vec<(String, Option<String>)> {
        add.partition_values.iter().map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    let owned: Vec<_> = each().map(|add| add.map(partition_values)).collect();
    let borrowed = owned.iter().map(|values| {
        values.as_ref().map(|v| v.iter().map(|(k, v)| (k.as_str(), v.as_deref())).collect())
    });
    structure(
        each().map(|a| a.is_some()).collect(),
        vec![
            ("path", texts(each().map(|a| a.map(|a| a.path.as_str())))),
            ("partitionValues", maps(borrowed)?),
            ("size", longs(each().map(|a| a.map(|a| a.size)))),
            ("modificationTime", longs(each().map(|a| a.map(|a| a.modification_time)))),
            // In a checkpoint it is always false: the state is not a change.
            ("dataChange", booleans(each().map(|a| a.map(|_| false)))),
            ("stats", texts(each().map(|a| a.and_then(|a| a.stats.as_deref())))),
        ],
    )
}

fn removes(actions: &[Action]) -> Result<StructArray, ArrowError> {
    let each = || actions.iter().map(|action| action.remove.as_ref());
    structure(
        each().map(|r| r.is_some()).collect(),
        vec![
            ("path", texts(each().map(|r| r.map(|r| r.path.as_str())))),
            ("deletionTimestamp", longs(each().map(|r| r.and_then(|r| r.deletion_timestamp)))),
            ("dataChange", booleans(each().map(|r| r.map(|_| false)))),
        ],
    )
}

/// One struct of one row, with its members by name.
#[derive(Clone, Copy)]
struct Row<'a> {
    array: &'a StructArray,
    row: usize,
}

impl<'a> Row<'a> {
    fn of(array: Option<&'a ArrayRef>, row: usize) -> Option<Self> {
        let array = array?.as_struct_opt()?;
        array.is_valid(row).then_some(Self { array, row })
    }

    fn member(&self, name: &str) -> Option<&'a ArrayRef> {
        self.array.column_by_name(name).filter(|member| member.is_valid(self.row))
    }

    fn text(&self, name: &str) -> Option<String> {
        self.member(name)?.as_string_opt::<i32>().map(|array| array.value(self.row).to_owned())
    }

    fn long(&self, name: &str) -> Option<i64> {
        self.member(name)?.as_primitive_opt::<Int64Type>().map(|array| array.value(self.row))
    }

    fn int(&self, name: &str) -> Option<i32> {
        self.member(name)?.as_primitive_opt::<Int32Type>().map(|array| array.value(self.row))
    }

    fn structure(&self, name: &str) -> Option<Row<'a>> {
        Row::of(self.array.column_by_name(name), self.row)
    }

    fn texts(&self, name: &str) -> Option<Vec<String>> {
        let elements = self.member(name)?.as_list_opt::<i32>()?.value(self.row);
        let elements = elements.as_string_opt::<i32>()?;
        Some(elements.iter().flatten().map(str::to_owned).collect())
    }

    fn map(&self, name: &str) -> Option<BTreeMap<String, Option<String>>> {
        let entries = self.member(name)?.as_map_opt()?.value(self.row);
        let keys = entries.column(0).as_string_opt::<i32>()?;
        let values = entries.column(1).as_string_opt::<i32>()?;
        let pairs = keys.iter().zip(values.iter());
        Some(pairs.filter_map(|(k, v)| Some((k?.to_owned(), v.map(str::to_owned)))).collect())
    }
}

/// The action of a row; the error names what it lacks.
fn action_at(batch: &RecordBatch, row: usize) -> Result<Action, &'static str> {
    let structure = |name| Row::of(batch.column_by_name(name), row);
    let mut action = Action::default();
    if let Some(row) = structure("protocol") {
        action.protocol = Some(Protocol {
            min_reader_version: row.int("minReaderVersion").ok_or("minReaderVersion")?,
            min_writer_version: row.int("minWriterVersion").ok_or("minWriterVersion")?,
        });
    }
    if let Some(row) = structure("metaData") {
        action.metadata = Some(metadata_at(row)?);
    }
    if let Some(row) = structure("txn") {
        action.txn = Some(Txn {
            app_id: row.text("appId").ok_or("appId")?,
            version: row.long("version").ok_or("version")?,
            last_updated: row.long("lastUpdated"),
        });
    }
    if let Some(row) = structure("add") {
        action.add = Some(Add {
            path: row.text("path").ok_or("path")?,
            partition_values: row.map("partitionValues").ok_or("partitionValues")?,
            size: row.long("size").ok_or("size")?,
            modification_time: row.long("modificationTime").unwrap_or(0),
            data_change: false,
            stats: row.text("stats"),
            deletion_vector: row.structure("deletionVector").map(|_| serde_json::Value::Null),
        });
    }
    if let Some(row) = structure("remove") {
        action.remove = Some(Remove {
            path: row.text("path").ok_or("path")?,
            deletion_timestamp: row.long("deletionTimestamp"),
            data_change: false,
        });
    }
    Ok(action)
}

fn metadata_at(row: Row<'_>) -> Result<Metadata, &'static str> {
    let settings = |map: Option<BTreeMap<String, Option<String>>>| {
        map.into_iter().flatten().filter_map(|(key, value)| Some((key, value?))).collect()
    };
    let format = row.structure("format");
    Ok(Metadata {
        id: row.text("id").ok_or("id")?,
        name: row.text("name"),
        description: row.text("description"),
        format: Format {
            provider: format.and_then(|f| f.text("provider")).unwrap_or_else(|| "parquet".into()),
            options: settings(format.and_then(|f| f.map("options"))),
        },
        schema_string: row.text("schemaString").ok_or("schemaString")?,
        partition_columns: row.texts("partitionColumns").unwrap_or_default(),
        created_time: row.long("createdTime"),
        configuration: settings(row.map("configuration")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_read_back_as_it_was_written() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = Directory::at(temporary.path().to_str().unwrap()).unwrap();
        let action = Action::default;
        let add = Add {
            path: "date=2026-11-28/a.parquet".into(),
            partition_values: [("date".into(), Some("2026-11-28".into()))].into(),
            size: 7,
            modification_time: 8,
            data_change: false,
            stats: Some("{}".into()),
            deletion_vector: None,
        };
        let metadata = Metadata {
            id: "i".into(),
            name: Some("events".into()),
            description: None,
            format: Format { provider: "parquet".into(), options: BTreeMap::new() },
            schema_string: "{}".into(),
            partition_columns: vec!["date".into()],
            configuration: [("k".into(), "v".into())].into(),
            created_time: Some(9),
        };
        let txn = Txn { app_id: "g/t/0".into(), version: 5, last_updated: None };
        let remove = Remove { path: "b".into(), deletion_timestamp: Some(3), data_change: false };
        let actions = [
            Action { protocol: Some(Protocol::WRITTEN), ..action() },
            Action { metadata: Some(metadata), ..action() },
            Action { txn: Some(txn), ..action() },
            Action { add: Some(add), ..action() },
            Action { remove: Some(remove), ..action() },
        ];
        write(&directory, "c.parquet", &actions).unwrap();
        let again = read(&directory, "c.parquet").unwrap();
        assert_eq!(format!("{again:?}"), format!("{actions:?}"));
    }
}
