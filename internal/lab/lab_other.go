//go:build !unix

package lab
