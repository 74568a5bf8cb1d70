# Every aws_lambda_* resource of the provider, each with the arguments that people use, and what
# stands beside them in nearly every stack. `changed` is the same stack after an edit.

terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

variable "package" {}
variable "layer" {}
variable "runtime" {}
variable "architecture" {}
variable "changed" {
  type    = bool
  default = false
}

provider "aws" {
  region = "us-east-1"
}

data "aws_caller_identity" "me" {}

locals {
  account = data.aws_caller_identity.me.account_id
  queue   = "arn:aws:sqs:us-east-1:${local.account}"
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "lamp" {
  name               = "lamp"
  description        = var.changed ? "lights" : "lamps"
  assume_role_policy = data.aws_iam_policy_document.trust.json
  tags               = { street = var.changed ? "high" : "low" }
}

resource "aws_iam_role_policy" "lamp" {
  name = "inline"
  role = aws_iam_role.lamp.name
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = var.changed ? ["sqs:*"] : ["sqs:SendMessage"], Resource = "*" }]
  })
}

resource "aws_iam_policy" "lamp" {
  name        = "lamp"
  description = "of lamps"
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = ["s3:GetObject"], Resource = var.changed ? "arn:aws:s3:::b/*" : "*" }]
  })
}

resource "aws_iam_role_policy_attachment" "own" {
  role       = aws_iam_role.lamp.name
  policy_arn = aws_iam_policy.lamp.arn
}

resource "aws_iam_role_policy_attachment" "basic" {
  role       = aws_iam_role.lamp.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
}

resource "aws_cloudwatch_log_group" "lamp" {
  name              = "/aws/lambda/lamp"
  retention_in_days = var.changed ? 14 : 7
  tags              = { street = "low" }
}

resource "aws_lambda_code_signing_config" "lamp" {
  description = var.changed ? "signs" : "signatures"
  allowed_publishers {
    signing_profile_version_arns = ["arn:aws:signer:us-east-1:${local.account}:/signing-profiles/lamp/0123456789"]
  }
  policies {
    untrusted_artifact_on_deployment = "Warn"
  }
  tags = { a = var.changed ? "c" : "b" }
}

resource "aws_lambda_layer_version" "lamp" {
  layer_name               = "lamp"
  filename                 = var.layer
  source_code_hash         = filebase64sha256(var.layer)
  description              = var.changed ? "new glass" : "glass"
  license_info             = "Apache-2.0"
  compatible_runtimes      = [var.runtime]
  compatible_architectures = [var.architecture]
}

resource "aws_lambda_layer_version_permission" "lamp" {
  layer_name     = aws_lambda_layer_version.lamp.layer_name
  version_number = aws_lambda_layer_version.lamp.version
  statement_id   = "all"
  action         = "lambda:GetLayerVersion"
  principal      = "*"
}

resource "aws_lambda_function" "lamp" {
  function_name                  = "lamp"
  description                    = var.changed ? "goes out" : "goes on"
  role                           = aws_iam_role.lamp.arn
  filename                       = var.package
  source_code_hash               = filebase64sha256(var.package)
  handler                        = "app.handler"
  runtime                        = var.runtime
  architectures                  = [var.architecture]
  layers                         = [aws_lambda_layer_version.lamp.arn]
  timeout                        = var.changed ? 11 : 10
  memory_size                    = 192
  publish                        = true
  reserved_concurrent_executions = var.changed ? 6 : 5
  code_signing_config_arn        = aws_lambda_code_signing_config.lamp.arn
  kms_key_arn                    = var.changed ? null : "arn:aws:kms:us-east-1:${local.account}:key/1234abcd-12ab-34cd-56ef-1234567890ab"

  environment {
    variables = { LAMP = var.changed ? "off" : "on" }
  }
  ephemeral_storage {
    size = 1024
  }
  logging_config {
    log_format            = "JSON"
    application_log_level = var.changed ? "WARN" : "DEBUG"
    system_log_level      = "INFO"
    log_group             = aws_cloudwatch_log_group.lamp.name
  }
  tracing_config {
    mode = "Active"
  }
  dynamic "dead_letter_config" {
    for_each = var.changed ? [] : [1]
    content {
      target_arn = "${local.queue}:dead"
    }
  }
  dynamic "vpc_config" {
    for_each = var.changed ? [] : [1]
    content {
      subnet_ids         = ["subnet-0123456789abcdef0"]
      security_group_ids = ["sg-0123456789abcdef0"]
    }
  }
  tags = { street = var.changed ? "high" : "low" }

  depends_on = [aws_iam_role_policy_attachment.basic]
}

resource "aws_lambda_function" "small" {
  function_name = "small"
  role          = aws_iam_role.lamp.arn
  filename      = var.package
  handler       = "app.handler"
  runtime       = var.runtime
  architectures = [var.architecture]
}

resource "aws_lambda_alias" "lamp" {
  name             = "live"
  description      = var.changed ? "green" : "blue"
  function_name    = aws_lambda_function.lamp.function_name
  function_version = "1"
  dynamic "routing_config" {
    for_each = var.changed ? [1] : []
    content {
      additional_version_weights = { (aws_lambda_function.lamp.version) = 0.25 }
    }
  }
}

resource "aws_lambda_permission" "lamp" {
  statement_id   = "bucket"
  function_name  = aws_lambda_function.lamp.function_name
  action         = "lambda:InvokeFunction"
  principal      = "s3.amazonaws.com"
  source_arn     = var.changed ? "arn:aws:s3:::other" : "arn:aws:s3:::bucket"
  source_account = local.account
}

resource "aws_lambda_permission" "alias" {
  statement_id_prefix = "events"
  function_name       = aws_lambda_function.lamp.function_name
  qualifier           = aws_lambda_alias.lamp.name
  action              = "lambda:InvokeFunction"
  principal           = "events.amazonaws.com"
}

resource "aws_lambda_function_url" "small" {
  function_name      = aws_lambda_function.small.function_name
  authorization_type = var.changed ? "AWS_IAM" : "NONE"
  invoke_mode        = var.changed ? "RESPONSE_STREAM" : "BUFFERED"
  dynamic "cors" {
    for_each = var.changed ? [] : [1]
    content {
      allow_origins = ["https://example.com"]
      allow_methods = ["GET"]
      max_age       = 60
    }
  }
}

resource "aws_lambda_function_url" "alias" {
  function_name      = aws_lambda_function.lamp.function_name
  qualifier          = aws_lambda_alias.lamp.name
  authorization_type = "AWS_IAM"
}

resource "aws_sqs_queue" "lamp" {
  name = "lamp"
}

resource "aws_lambda_event_source_mapping" "queue" {
  function_name                      = aws_lambda_function.lamp.arn
  event_source_arn                   = aws_sqs_queue.lamp.arn
  enabled                            = !var.changed
  batch_size                         = var.changed ? 6 : 5
  maximum_batching_window_in_seconds = 1
  function_response_types            = ["ReportBatchItemFailures"]
  dynamic "scaling_config" {
    for_each = var.changed ? [] : [1]
    content {
      maximum_concurrency = 3
    }
  }
  filter_criteria {
    filter {
      pattern = jsonencode({ body = { lamp = [var.changed ? "off" : "on"] } })
    }
  }
  tags = { a = "b" }
}

resource "aws_lambda_event_source_mapping" "stream" {
  function_name                  = aws_lambda_alias.lamp.arn
  event_source_arn               = "arn:aws:kinesis:us-east-1:${local.account}:stream/lamp"
  starting_position              = "LATEST"
  bisect_batch_on_function_error = true
  maximum_retry_attempts         = var.changed ? 3 : 2
  maximum_record_age_in_seconds  = 120
  parallelization_factor         = 2
  tumbling_window_in_seconds     = 30
  destination_config {
    on_failure {
      destination_arn = "${local.queue}:failures"
    }
  }
}

resource "aws_lambda_event_source_mapping" "table" {
  function_name     = aws_lambda_function.small.arn
  event_source_arn  = "arn:aws:dynamodb:us-east-1:${local.account}:table/lamp/stream/2026-01-01T00:00:00.000"
  starting_position = "TRIM_HORIZON"
}

resource "aws_lambda_event_source_mapping" "kafka" {
  function_name     = aws_lambda_function.small.arn
  topics            = ["lamp"]
  starting_position = "TRIM_HORIZON"
  self_managed_event_source {
    endpoints = { KAFKA_BOOTSTRAP_SERVERS = "kafka.example.com:9092" }
  }
  self_managed_kafka_event_source_config {
    consumer_group_id = "lamps"
  }
  source_access_configuration {
    type = "VPC_SUBNET"
    uri  = "subnet:subnet-0123456789abcdef0"
  }
  source_access_configuration {
    type = "VPC_SECURITY_GROUP"
    uri  = "security_group:sg-0123456789abcdef0"
  }
}

resource "aws_lambda_function_event_invoke_config" "lamp" {
  function_name                = aws_lambda_function.lamp.function_name
  maximum_event_age_in_seconds = var.changed ? 120 : 60
  maximum_retry_attempts       = 0
  dynamic "destination_config" {
    for_each = var.changed ? [] : [1]
    content {
      on_failure {
        destination = "${local.queue}:failures"
      }
    }
  }
}

resource "aws_lambda_function_event_invoke_config" "alias" {
  function_name          = aws_lambda_alias.lamp.function_name
  qualifier              = aws_lambda_alias.lamp.name
  maximum_retry_attempts = 1
}

resource "aws_lambda_provisioned_concurrency_config" "lamp" {
  function_name                     = aws_lambda_alias.lamp.function_name
  qualifier                         = aws_lambda_alias.lamp.name
  provisioned_concurrent_executions = var.changed ? 2 : 1
}

resource "aws_lambda_runtime_management_config" "lamp" {
  function_name     = aws_lambda_function.lamp.function_name
  update_runtime_on = var.changed ? "Auto" : "FunctionUpdate"
}

resource "aws_lambda_function_recursion_config" "lamp" {
  function_name  = aws_lambda_function.lamp.function_name
  recursive_loop = var.changed ? "Terminate" : "Allow"
}

resource "aws_lambda_invocation" "lamp" {
  function_name = aws_lambda_function.small.function_name
  input         = jsonencode({ street = "high" })
}

data "aws_lambda_function" "lamp" {
  function_name = aws_lambda_function.lamp.function_name
  qualifier     = aws_lambda_alias.lamp.name
}

data "aws_lambda_functions" "all" {
  depends_on = [aws_lambda_function.lamp, aws_lambda_function.small]
}

data "aws_lambda_alias" "lamp" {
  function_name = aws_lambda_alias.lamp.function_name
  name          = aws_lambda_alias.lamp.name
}

data "aws_lambda_layer_version" "lamp" {
  layer_name = aws_lambda_layer_version.lamp.layer_name
}

data "aws_lambda_function_url" "small" {
  function_name = aws_lambda_function_url.small.function_name
}

data "aws_lambda_code_signing_config" "lamp" {
  arn = aws_lambda_code_signing_config.lamp.arn
}

data "aws_lambda_invocation" "small" {
  function_name = aws_lambda_function.small.function_name
  input         = jsonencode({ street = "low" })
}

output "functions" {
  value = data.aws_lambda_functions.all.function_names
}

output "invoked" {
  value = jsondecode(aws_lambda_invocation.lamp.result)
}

output "read" {
  value = jsondecode(data.aws_lambda_invocation.small.result)
}

output "alias" {
  value = data.aws_lambda_alias.lamp.function_version
}
