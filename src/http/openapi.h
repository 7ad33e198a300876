// SPDX-License-Identifier: Apache-2.0
//
// The API's own description: docs/api/openapi.yaml as JSON, made into an array at build time (tools/openapi.py).
#pragma once

extern const unsigned char http_openapi_text[];
extern const unsigned http_openapi_len;
extern const char http_openapi_tag[]; // its ETag
