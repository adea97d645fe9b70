// Package filestore keeps sessions in a private directory, so that they outlive
// the process and several processes of one machine can share them.
package filestore
