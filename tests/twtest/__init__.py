# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end and fault tests share: the real server as a process, a plain HTTP client, guests and kernels made from sources."""
